#include <c10/util/Exception.h>

#include <algorithm>

#include "ops/attention/float_rows.h"
#include "ops/attention/fusion.h"

namespace npu_sim::ops {
namespace {

// Limits of the card's kernels. Source: op-plugin@517f2e7d docs, npu_fusion_attention.
constexpr std::int64_t kWidest = 768;
constexpr std::int64_t kMostHeads = 256;
constexpr std::int64_t kLongest = 1'000'000;
constexpr std::int64_t kMostPrefixes = 32;
constexpr std::int64_t kCompressed = 2048;            // rows and columns of a compressed mask
constexpr std::int64_t kCompressedPrefixRows = 3072;  // of mode 6

void check_dtypes(const Fusion& on) {
  const at::ScalarType dtype = on.query.scalar_type();
  TORCH_CHECK_TYPE(flash::is_row_dtype(dtype), on.op,
                   ": expected query of float16, bfloat16 or float32, got ", dtype);
  for (const at::Tensor* const x : {&on.key, &on.value, &on.query_rope, &on.key_rope}) {
    TORCH_CHECK_TYPE(!x->defined() || x->scalar_type() == dtype, on.op,
                     ": expected key, value and rope parts of query's ", dtype, ", got ",
                     x->scalar_type());
  }
}

void check_axes(const Fusion& on, const char* name, const at::Tensor& x) {
  const std::int64_t rank = rank_of(axes_named(on.layout));
  TORCH_CHECK_VALUE(x.dim() == rank, on.op, ": expected ", name, " of ", rank, " axes in layout ",
                    on.layout, ", got ", x.sizes());
}

// Heads of key: in BSH and SBH they are as wide as query's.
std::int64_t key_heads_of(const Fusion& on) {
  if (on.layout == "BNSD") return on.key.size(1);
  if (on.layout == "BSND") return on.key.size(2);
  if (on.layout == "TND") return on.key.size(1);
  const std::int64_t width = on.query.size(2) / on.heads;
  TORCH_CHECK_VALUE(width > 0 && on.query.size(2) % on.heads == 0, on.op,
                    ": expected query's last axis to be a multiple of head_num ", on.heads,
                    ", got ", on.query.sizes());
  TORCH_CHECK_VALUE(on.key.size(2) > 0 && on.key.size(2) % width == 0, on.op,
                    ": expected key's last axis to be a multiple of query's head width ", width,
                    ", got ", on.key.sizes());
  return on.key.size(2) / width;
}

void check_heads(const Fusion& on, const FusionSequences& sequences) {
  const std::int64_t key_heads = sequences.key_heads();
  TORCH_CHECK_VALUE(sequences.query.size(1) == on.heads, on.op, ": expected query of head_num ",
                    on.heads, " heads, got ", on.query.sizes());
  TORCH_CHECK_VALUE(on.heads <= kMostHeads, on.op, ": expected head_num up to ", kMostHeads,
                    ", got ", on.heads);
  TORCH_CHECK_VALUE(key_heads > 0 && on.heads % key_heads == 0, on.op,
                    ": expected key heads that divide head_num ", on.heads, ", got key ",
                    on.key.sizes());
}

void check_sizes(const Fusion& on, const FusionSequences& sequences) {
  const at::Tensor& query = sequences.query;
  const at::Tensor& key = sequences.key;
  const at::Tensor& value = sequences.value;
  TORCH_CHECK_VALUE(query.size(0) == key.size(0), on.op, ": expected key of query's batch ",
                    query.size(0), ", got ", on.key.sizes());
  TORCH_CHECK_VALUE(query.size(3) == key.size(3), on.op, ": expected key of query's head width ",
                    query.size(3), ", got ", on.key.sizes());
  TORCH_CHECK_VALUE(value.sizes().slice(0, 3) == key.sizes().slice(0, 3), on.op,
                    ": expected value of key's tokens and heads, got ", on.value.sizes(),
                    " for key ", on.key.sizes());
  TORCH_CHECK_VALUE(value.size(3) <= key.size(3) && value.size(3) > 0, on.op,
                    ": expected value no wider than key's ", key.size(3), ", got ",
                    on.value.sizes());
  TORCH_CHECK_VALUE(query.size(3) <= kWidest, on.op, ": expected heads of a width up to ", kWidest,
                    ", got ", query.size(3));
}

void check_rope(const Fusion& on) {
  TORCH_CHECK_VALUE(on.query_rope.defined() == on.key_rope.defined(), on.op,
                    ": expected query_rope and key_rope together, got only ",
                    on.query_rope.defined() ? "query_rope" : "key_rope");
  if (!on.query_rope.defined()) return;
  check_axes(on, "query_rope", on.query_rope);
  check_axes(on, "key_rope", on.key_rope);
}

void check_rope_sizes(const Fusion& on, const FusionSequences& sequences) {
  if (!on.query_rope.defined()) return;
  const auto fits = [](const at::Tensor& rope, const at::Tensor& x) {
    return rope.sizes().slice(0, 3) == x.sizes().slice(0, 3);
  };
  TORCH_CHECK_VALUE(fits(sequences.query_rope, sequences.query), on.op,
                    ": expected query_rope of query's tokens and heads, got ",
                    on.query_rope.sizes(), " for query ", on.query.sizes());
  TORCH_CHECK_VALUE(fits(sequences.key_rope, sequences.key) &&
                        sequences.key_rope.size(3) == sequences.query_rope.size(3),
                    on.op, ": expected key_rope of key's tokens and heads and query_rope's width, ",
                    "got ", on.key_rope.sizes(), " for key ", on.key.sizes());
}

void check_mode(const Fusion& on) {
  const std::int64_t mode = on.sparse.mode;
  if (on.is_packed()) {
    TORCH_CHECK_VALUE(mode >= 0 && mode <= 8 && mode != SparseMode::kPrefix, on.op,
                      ": expected sparse_mode from 0 to 4 or 6 to 8 in layout TND, got ", mode);
  } else {
    TORCH_CHECK_VALUE(mode >= 0 && mode <= 6, on.op,
                      ": expected sparse_mode from 0 to 6 in layout ", on.layout, ", got ", mode);
  }
  TORCH_CHECK_VALUE(on.softmax_layout.empty() || (on.softmax_layout == "TND" && on.is_packed()),
                    on.op, ": expected softmax_layout '' or, in layout TND, 'TND', got '",
                    on.softmax_layout, "'");
  TORCH_CHECK_VALUE(on.keep_prob > 0 && on.keep_prob <= 1, on.op,
                    ": expected keep_prob in (0, 1], got ", on.keep_prob);
  TORCH_CHECK_VALUE(mode < 7 || !on.bias.values.defined() || on.bias.is_slopes(), on.op,
                    ": expected no pse in sparse_mode ", mode, ", got one of ",
                    on.bias.values.sizes());
}

void check_sums(const Fusion& on, const char* name, const std::optional<Integers>& sums,
                std::int64_t tokens) {
  TORCH_CHECK_VALUE(sums.has_value() && !sums->empty(), on.op, ": expected ", name,
                    " in layout TND, got ", sums.has_value() ? "an empty list" : "None");
  for (const std::int64_t length : lengths_from_sums(*sums)) {
    TORCH_CHECK_VALUE(length >= 0, on.op, ": expected ", name,
                      " of running sums that do not fall, got ", at::IntArrayRef(*sums));
  }
  const std::int64_t end = *std::ranges::max_element(*sums);
  TORCH_CHECK_VALUE(end <= tokens && end <= kLongest, on.op, ": expected ", name, " that ends at ",
                    std::min(tokens, kLongest), " tokens or before, got ", at::IntArrayRef(*sums));
}

void check_lengths(const Fusion& on) {
  if (!on.is_packed()) {
    TORCH_CHECK_VALUE(!on.query_sums.has_value() && !on.key_sums.has_value(), on.op,
                      ": expected actual_seq_qlen and actual_seq_kvlen only in layout TND, got ",
                      "them in ", on.layout);
    return;
  }
  check_sums(on, "actual_seq_qlen", on.query_sums, on.query.size(0));
  check_sums(on, "actual_seq_kvlen", on.key_sums, on.key.size(0));
  TORCH_CHECK_VALUE(on.query_sums->size() == on.key_sums->size(), on.op,
                    ": expected actual_seq_kvlen of ", on.query_sums->size(),
                    " sequences, as actual_seq_qlen has, got ", on.key_sums->size());
}

struct Longest {
  std::int64_t batch = 1;  // masks of their own
  std::int64_t queries = 0;
  std::int64_t keys = 0;
};

Longest longest_of(const Fusion& on, const std::vector<SequencePair>& sequences) {
  Longest longest{.batch = on.is_packed() ? 1 : std::ssize(sequences)};
  for (const SequencePair& sequence : sequences) {
    longest.queries = std::max(longest.queries, sequence.queries);
    longest.keys = std::max(longest.keys, sequence.keys);
  }
  return longest;
}

void check_mask(const Fusion& on, const Longest& longest) {
  const at::Tensor& mask = on.mask;
  if (!mask.defined()) return;
  TORCH_CHECK_TYPE(mask.scalar_type() == at::kBool || mask.scalar_type() == at::kByte, on.op,
                   ": expected atten_mask of bool or uint8, got ", mask.scalar_type());
  TORCH_CHECK_VALUE(mask.dim() == 2 || mask.dim() == 4, on.op,
                    ": expected atten_mask of 2 or 4 axes, got ", mask.sizes());
  const std::int64_t mode = on.sparse.mode;
  if (!on.sparse.reads_mask()) {
    const std::int64_t rows =
        mode == SparseMode::kCompressedPrefix ? kCompressedPrefixRows : kCompressed;
    TORCH_CHECK_VALUE(
        mask.size(-2) == rows && mask.size(-1) == kCompressed && mask.numel() == rows * kCompressed,
        on.op, ": expected atten_mask of [", rows, ", ", kCompressed,
        "], the compressed one, in sparse_mode ", mode, ", got ", mask.sizes());
    return;
  }
  TORCH_CHECK_VALUE(mask.size(-2) == longest.queries && mask.size(-1) == longest.keys, on.op,
                    ": expected atten_mask of [..., ", longest.queries, ", ", longest.keys,
                    "] in sparse_mode ", mode, ", got ", mask.sizes());
  const bool fits = mask.dim() == 2 || ((mask.size(0) == 1 || mask.size(0) == longest.batch) &&
                                        (mask.size(1) == 1 || mask.size(1) == on.heads));
  TORCH_CHECK_VALUE(fits, on.op, ": expected atten_mask of [", longest.batch, " or 1, ", on.heads,
                    " or 1, queries, keys], got ", mask.sizes());
}

void check_sink(const Fusion& on) {
  if (!on.sink.defined()) return;
  TORCH_CHECK_TYPE(on.sink.scalar_type() == at::kFloat, on.op, ": expected sink of float32, got ",
                   on.sink.scalar_type());
  TORCH_CHECK_VALUE(on.sink.sizes() == at::IntArrayRef({on.heads}), on.op, ": expected sink of [",
                    on.heads, "], one a head, got ", on.sink.sizes());
}

void check_dropout_mask(const Fusion& on, std::int64_t scores) {
  if (!on.dropout_mask.defined()) return;
  constexpr std::int64_t kBits = 8;
  TORCH_CHECK_TYPE(on.dropout_mask.scalar_type() == at::kByte, on.op,
                   ": expected dropout_mask of uint8, got ", on.dropout_mask.scalar_type());
  TORCH_CHECK_VALUE(on.dropout_mask.dim() == 1 && on.dropout_mask.numel() * kBits >= scores, on.op,
                    ": expected dropout_mask of a bit for each of ", scores, " scores, got ",
                    on.dropout_mask.sizes(), " bytes");
}

}  // namespace

void check(Fusion& on) {
  on.layout = checked_layout(on.op, on.layout);
  TORCH_CHECK_VALUE(on.heads > 0, on.op, ": expected head_num of 1 or more, got ", on.heads);
  check_axes(on, "query", on.query);
  check_axes(on, "key", on.key);
  check_axes(on, "value", on.value);
  check_rope(on);
  check_dtypes(on);
  check_mode(on);
  TORCH_CHECK_NOT_IMPLEMENTED(!on.padding_mask.defined(), on.op,
                              ": padding_mask is not supported by the card's kernel; hide keys "
                              "with atten_mask");
  const std::int64_t key_heads = key_heads_of(on);
  const bool splits = on.layout == "BSH" || on.layout == "SBH";
  TORCH_CHECK_VALUE(key_heads > 0 && (!splits || on.value.size(2) % key_heads == 0), on.op,
                    ": expected value's last axis to be a multiple of ", key_heads,
                    " key heads, got ", on.value.sizes());
  check_lengths(on);
  const FusionSequences sequences(on);
  check_heads(on, sequences);
  check_sizes(on, sequences);
  check_rope_sizes(on, sequences);
  const Longest longest = longest_of(on, sequences.all());
  check_mask(on, longest);
  if (on.mask.defined() && on.sparse.reads_mask()) on.mask = on.mask.contiguous();
  check_sink(on);
  if (on.mask.defined()) check_prefixes(on, sequences.all());
  check_dropout_mask(on, sequences.scores());
  if (!on.bias.values.defined()) return;
  on.bias.check({.op = on.op,
                 .dtype = on.query.scalar_type(),
                 .batch = std::ssize(sequences.all()),
                 .heads = on.heads,
                 .queries = longest.queries,
                 .keys = longest.keys});
  on.bias.compressed = !on.bias.is_slopes() &&
                       on.bias.values.size(2) == PositionBias::kCompressedRows &&
                       longest.queries > PositionBias::kCompressedRows;
  on.bias.values = on.bias.values.contiguous();
}

void check_prefixes(const Fusion& on, const std::vector<SequencePair>& sequences) {
  const std::int64_t mode = on.sparse.mode;
  if (mode != SparseMode::kPrefix && mode != SparseMode::kCompressedPrefix) return;
  const Integers& prefix = on.sparse.prefix;
  TORCH_CHECK_VALUE(prefix.size() == sequences.size() && std::ssize(prefix) <= kMostPrefixes, on.op,
                    ": expected prefix of ", sequences.size(), " numbers, one a sequence and ",
                    kMostPrefixes, " at most, in sparse_mode ", mode, ", got ",
                    at::IntArrayRef(prefix));
  for (std::size_t s = 0; s < prefix.size(); ++s) {
    const std::int64_t keys = sequences[s].keys;
    const std::int64_t least = std::max<std::int64_t>(0, keys - sequences[s].queries);
    TORCH_CHECK_VALUE(prefix[s] >= least && prefix[s] <= keys, on.op, ": expected prefix in [",
                      least, ", ", keys, "] for ", sequences[s].queries, " queries and ", keys,
                      " keys, got ", prefix[s]);
  }
}

}  // namespace npu_sim::ops
