#include "ops/attention/fusion_work.h"

#include <algorithm>
#include <limits>

#include "aten/describe/operands.h"
#include "aten/describe/values.h"
#include "ops/attention/layout.h"
#include "ops/attention/sparse_mode.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

std::vector<SequencePair> sequences_of(const aten::Call& call, const FusionArguments& where,
                                       const at::Tensor& query, const at::Tensor& key,
                                       bool packed) {
  if (!packed) return even_sequences(query.size(0), query.size(2), key.size(2));
  const auto queries = aten::integers_at(call, where.prefix + 1);
  const auto keys = aten::integers_at(call, where.prefix + 2);
  if (!queries.has_value() || !keys.has_value()) {
    return even_sequences(1, query.size(2), key.size(2));
  }
  return packed_sequences(lengths_from_sums(*queries), lengths_from_sums(*keys));
}

SparseMode mode_of(const aten::Call& call, const FusionArguments& where) {
  constexpr std::int64_t kAll = std::numeric_limits<std::int32_t>::max();
  return {.mode = aten::integer_at(call, where.prefix + 3, 0),
          .pre_tokens = aten::integer_at(call, where.pre_tokens, kAll),
          .next_tokens = aten::integer_at(call, where.pre_tokens + 1, kAll),
          .prefix = aten::integers_at(call, where.prefix).value_or(Integers{})};
}

// Scores that a sequence's band leaves.
std::int64_t scores_of(const flash::Mask& mask, const SequencePair& sequence) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < sequence.queries; ++i) {
    const auto [first, last] = mask.range(i, sequence.keys);
    const std::int64_t prefix = std::min(mask.prefix, sequence.keys);
    // Keys of the band, and those of the prefix that the band leaves out.
    sum += last - first + std::min(prefix, first) + std::max<std::int64_t>(0, prefix - last);
  }
  return sum;
}

bool is_even(const std::vector<SequencePair>& sequences) {
  return std::ranges::all_of(sequences, [&](const SequencePair& one) {
    return one.queries == sequences[0].queries && one.keys == sequences[0].keys;
  });
}

// Sequences of different lengths or with other masks than a triangle are taken as ones of equal
// length with as many scores.
void add_lengths(model::AttentionWork& work, const std::vector<SequencePair>& sequences,
                 const SparseMode& mode, bool masked) {
  std::int64_t queries = 0;
  std::int64_t scores = 0;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const SequencePair& one = sequences[s];
    if (one.queries == 0 || one.keys == 0) continue;
    ++work.batch;
    queries += one.queries;
    scores += masked ? scores_of(mode.mask_of(sequences, s), one) : one.queries * one.keys;
  }
  if (work.batch == 0) return;
  work.q_len = (queries + work.batch - 1) / work.batch;
  const SequencePair& first = sequences[0];
  const bool left_up = mode.mode == SparseMode::kLeftUpCausal && first.queries <= first.keys;
  work.causal =
      masked && is_even(sequences) && (mode.mode == SparseMode::kRightDownCausal || left_up);
  if (work.causal) {
    work.kv_len = left_up ? first.queries : first.keys;
  } else {
    work.kv_len = (scores + queries - 1) / std::max<std::int64_t>(queries, 1);
  }
}

// Bytes of the mask that are read: a compressed one only as far as the sequences reach.
base::Bytes mask_bytes(const at::Tensor& mask, const SparseMode& mode,
                       const std::vector<SequencePair>& sequences) {
  if (!mask.defined() || mode.reads_mask()) return aten::bytes_of(mask);
  std::int64_t most = 0;
  for (const SequencePair& one : sequences) most = std::max(most, one.queries * one.keys);
  return std::min(aten::bytes_of(mask), base::Bytes{most});
}

}  // namespace

model::Work fusion_work(const aten::Call& call, const FusionArguments& where) {
  const std::string layout = checked_layout("fusion_work", text_at(call, where.layout, "BSH"));
  const std::int64_t heads = aten::integer_at(call, where.head_num, 1);
  const at::Tensor query = heads_first(call.argument(0), layout, heads);
  const bool splits = layout == "BSH" || layout == "SBH";
  const std::int64_t key_heads = splits ? call.argument(1).size(2) / query.size(3) : 0;
  const at::Tensor key = heads_first(call.argument(1), layout, key_heads);
  const at::Tensor value = heads_first(call.argument(2), layout, key_heads);
  const at::Tensor& rope = aten::tensor_at(call, where.query_rope);
  const at::Tensor& mask = aten::tensor_at(call, where.mask);
  const auto sequences = sequences_of(call, where, query, key, layout == "TND");
  const SparseMode mode = mode_of(call, where);
  const std::int64_t rope_width = rope.defined() ? heads_first(rope, layout, heads).size(3) : 0;
  model::AttentionWork work{.q_heads = heads,
                            .kv_heads = key.size(1),
                            .qk_dim = query.size(3) + rope_width,
                            .v_dim = value.size(3),
                            .format = aten::format_of(query),
                            .backward = where.backward};
  add_lengths(work, sequences, mode, mask.defined());
  work.mask = mask_bytes(mask, mode, sequences) + aten::bytes_of(aten::tensor_at(call, where.bias));
  return work;
}

}  // namespace npu_sim::ops
