// npu_nsa_compress_attention and npu_nsa_compress_attention_infer: attention to compressed keys,
// and the blocks of keys that its weights name as the most important ones.
//
// A block j of l' keys collects the weights of the windows that reach into it, importance[j] =
// sum_m sum_n p[l'/d (j + 1) - m - n], m < l'/d, n < l/d, of windows of l keys, d apart, summed
// over the query heads of a key head. The cards before the Ascend 950 have these. Source:
// op-plugin@517f2e7d, goldens of both tests.
#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/attention/card_lacks.h"
#include "ops/attention/infer_layout.h"
#include "ops/attention/paged_source.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: an attention, then a selection of blocks.
model::AttentionWork attention_in(const aten::Call& call, std::int64_t kv_heads,
                                  std::int64_t keys) {
  const at::Tensor& query = call.argument(0);
  const std::int64_t width = aten::size_along(query, -1);
  const std::int64_t heads = aten::size_along(query, -2);
  return {.batch = 1,
          .q_heads = heads,
          .kv_heads = kv_heads,
          .q_len = aten::ratio(query.numel(), heads * width),
          .kv_len = keys,
          .qk_dim = width,
          .v_dim = aten::size_along(call.result(), -1),
          .format = aten::format_of(query)};
}
model::SortWork selection_in(const at::Tensor& indices, std::int64_t blocks) {
  const std::int64_t count = aten::size_along(indices, -1);
  return {.rows = aten::ratio(indices.numel(), count),
          .columns = blocks,
          .k = count,
          .written = aten::bytes_of(indices)};
}
model::Work prompt_attention(const aten::Call& call) {
  model::AttentionWork work =
      attention_in(call, call.argument(1).size(1), call.argument(1).size(0));
  work.mask = aten::bytes_of(aten::tensor_at(call, 10));
  return work;
}
model::Work prompt_selection(const aten::Call& call) {
  const std::int64_t windows =
      std::max<std::int64_t>(1, call.arguments[7].toInt() / call.arguments[6].toInt());
  return selection_in(call.result(1), call.argument(1).size(0) / windows);
}
model::Work paged_attention(const aten::Call& call) {
  const std::int64_t queries = std::max<std::int64_t>(1, call.result(1).size(0));
  model::AttentionWork work = attention_in(call, call.arguments[5].toInt(), 0);
  work.batch = queries;
  work.q_len = aten::ratio(work.q_len, queries);
  work.kv_len = aten::tensor_at(call, 13).size(1) * call.argument(1).size(1);
  work.kv_block = call.argument(1).size(1);
  return work;
}
model::Work paged_selection(const aten::Call& call) {
  const std::int64_t tokens =
      aten::tensor_at(call, 13).size(1) * call.argument(1).size(1) * call.arguments[10].toInt();
  return selection_in(call.result(1), tokens / call.arguments[6].toInt());
}
constexpr aten::Describer kPromptRest[] = {prompt_selection};
constexpr aten::Describer kPagedRest[] = {paged_selection};
constexpr aten::Entry kEntries[] = {
    {"npu_nsa_compress_attention", prompt_attention, kPromptRest},
    {"npu_nsa_compress_attention_infer", paged_attention, kPagedRest},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
struct Blocks {
  const char* op;
  std::int64_t window = 0;  // compress_block_size, l
  std::int64_t stride = 0;  // compress_stride, d
  std::int64_t size = 0;    // select_block_size, l'
  std::int64_t count = 0;   // select_block_count
};

void check(const Blocks& blocks) {
  TORCH_CHECK_VALUE(blocks.stride > 0 && blocks.window >= blocks.stride &&
                        blocks.window % blocks.stride == 0 && blocks.size >= blocks.window &&
                        blocks.size % blocks.stride == 0,
                    blocks.op,
                    ": expected compress_stride that divides compress_block_size and "
                    "select_block_size, not below "
                    "it, got ",
                    blocks.stride, ", ", blocks.window, " and ", blocks.size);
  TORCH_CHECK_VALUE(blocks.count > 0, blocks.op, ": expected select_block_count above 0, got ",
                    blocks.count);
}

// [rows, blocks] from weights [rows, windows].
at::Tensor importance(const at::Tensor& weights, const Blocks& blocks, std::int64_t count) {
  const std::int64_t m = blocks.size / blocks.stride;
  const std::int64_t n = blocks.window / blocks.stride;
  const std::int64_t longest = std::max(weights.size(1), m * count + 1);
  const at::Tensor padded = at::constant_pad_nd(weights, {n, longest - weights.size(1)});
  const at::Tensor found = at::zeros({weights.size(0), count}, weights.options());
  for (std::int64_t t = 0; t < m + n - 1; ++t) {
    const std::int64_t pairs = std::min({t + 1, n, m, m + n - 1 - t});  // of m and n with this sum
    const std::int64_t first = n + m - t;
    found.add_(padded.slice(1, first, first + (count - 1) * m + 1, m), pairs);
  }
  return found;
}

struct Attended {
  at::Tensor out;      // [heads, rows, width]
  at::Tensor weights;  // [heads, rows, keys]
  at::Tensor greatest;
  at::Tensor sum;
};

// One key head: query [heads, rows, width], key [keys, width]. Hidden keys lose 40000, as in the
// golden, so that a query that sees none attends to all.
Attended attend_all(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                    double scale, const at::Tensor& hidden) {
  constexpr double kHidden = -40000;
  at::Tensor scores = at::matmul(query, key.t()).mul_(scale);
  if (hidden.defined()) scores = scores + hidden.to(at::kFloat) * kHidden;
  const at::Tensor greatest = scores.amax(-1, /*keepdim=*/true);
  scores.sub_(greatest).exp_();
  const at::Tensor sum = scores.sum(-1, /*keepdim=*/true);
  scores.div_(sum);
  return {.out = at::matmul(scores, value), .weights = scores, .greatest = greatest, .sum = sum};
}

at::Tensor best_blocks(const at::Tensor& scores, std::int64_t count) {
  const at::Tensor order =
      std::get<1>(at::sort(scores, /*stable=*/true, /*dim=*/-1, /*descending=*/true));
  return order.narrow(-1, 0, count).to(at::kInt);
}

// --- prompts
using MaybeSums = at::OptionalIntArrayRef;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
constexpr std::int64_t kRows = 128;  // queries that share the memory of their scores

struct Sequences {
  std::vector<TokenSpan> queries;
  std::vector<TokenSpan> keys;
  std::vector<TokenSpan> blocks;
};

std::vector<TokenSpan> spans_of(const char* op, const char* argument, const MaybeSums& sums,
                                std::int64_t tokens) {
  const Lengths lengths{.name = {.op = op, .argument = argument},
                        .values = sums.has_value()
                                      ? std::optional(Integers(sums->begin(), sums->end()))
                                      : std::nullopt,
                        .padding = {}};
  return token_spans(lengths, Axes::kTnd, {1, 1, tokens, 1});
}

void check_operands(const char* op, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& value, std::int64_t heads) {
  const at::ScalarType dtype = query.scalar_type();
  TORCH_CHECK_TYPE((dtype == at::kHalf || dtype == at::kBFloat16) && key.scalar_type() == dtype &&
                       value.scalar_type() == dtype,
                   op, ": expected query, key and value of float16 or bfloat16, all alike, got ",
                   dtype, ", ", key.scalar_type(), " and ", value.scalar_type());
  TORCH_CHECK_VALUE(query.dim() == 3 && key.dim() == 3 && value.dim() == 3, op,
                    ": expected query, key and value of three axes, got ", query.sizes(), ", ",
                    key.sizes(), " and ", value.sizes());
  TORCH_CHECK_VALUE(query.size(1) == heads && heads > 0, op, ": expected query of head_num ", heads,
                    " heads, got ", query.sizes());
}

// A mask [queries, keys] of the longest sequence, cut to this one.
at::Tensor cut(const char* op, const char* argument, const MaybeTensor& mask, std::int64_t rows,
               std::int64_t columns) {
  if (!given(mask)) return {};
  TORCH_CHECK_VALUE(mask->dim() == 2 && mask->size(0) >= rows && mask->size(1) >= columns, op,
                    ": expected ", argument, " of [", rows, ", ", columns, "] or more, got ",
                    mask->sizes());
  return mask->narrow(0, 0, rows).narrow(1, 0, columns).to(at::kBool);
}

struct Results {
  at::Tensor out;
  at::Tensor indices;
  at::Tensor greatest;  // [tokens, heads]
  at::Tensor sum;
};

struct Prompt {
  const Blocks& blocks;
  const at::Tensor& query;  // fp32, [tokens, heads, width]
  const at::Tensor& key;
  const at::Tensor& value;
  const MaybeTensor& topk_mask;
  const MaybeTensor& atten_mask;
  double scale = 1;
};

void attend_sequence(const Prompt& on, const Sequences& sequences, std::size_t s,
                     const Results& to) {
  constexpr double kForced = 23333;  // the golden's score of a block that topk_mask names
  const TokenSpan& queries = sequences.queries[s];
  const TokenSpan& keys = sequences.keys[s];
  const std::int64_t count = sequences.blocks[s].length;
  TORCH_CHECK_VALUE(count >= on.blocks.count, on.blocks.op,
                    ": expected select_block_count of at most ", count,
                    ", the blocks of a sequence, got ", on.blocks.count);
  const std::int64_t shared = on.query.size(1) / on.key.size(1);
  const at::Tensor hidden =
      cut(on.blocks.op, "atten_mask", on.atten_mask, queries.length, keys.length);
  const at::Tensor forced = cut(on.blocks.op, "topk_mask", on.topk_mask, queries.length, count);
  for (std::int64_t head = 0; head < on.key.size(1); ++head) {
    const at::Tensor key = on.key.narrow(0, keys.first, keys.length).select(1, head);
    const at::Tensor value = on.value.narrow(0, keys.first, keys.length).select(1, head);
    for (std::int64_t first = 0; first < queries.length; first += kRows) {
      const std::int64_t rows = std::min(kRows, queries.length - first);
      const auto place = [&](const at::Tensor& x) {
        return x.narrow(0, queries.first + first, rows)
            .narrow(1, head * shared, shared)
            .transpose(0, 1);
      };
      const Attended attended =
          attend_all(place(on.query), key, value, on.scale,
                     hidden.defined() ? hidden.narrow(0, first, rows) : hidden);
      place(to.out).copy_(attended.out);
      place(to.greatest).copy_(attended.greatest.squeeze(-1));
      place(to.sum).copy_(attended.sum.squeeze(-1));
      at::Tensor scores = importance(attended.weights.sum(0), on.blocks, count);
      if (forced.defined()) scores.masked_fill_(forced.narrow(0, first, rows), kForced);
      to.indices.narrow(0, queries.first + first, rows)
          .select(1, head)
          .copy_(best_blocks(scores, on.blocks.count));
    }
  }
}

// The card keeps each statistic eight times.
at::Tensor repeated(const at::Tensor& statistic) {
  return statistic.unsqueeze(-1).expand({-1, -1, 8}).contiguous();
}

Four nsa_compress_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            double scale_value, std::int64_t head_num,
                            std::int64_t compress_block_size, std::int64_t compress_stride,
                            std::int64_t select_block_size, std::int64_t select_block_count,
                            const MaybeTensor& topk_mask, const MaybeTensor& atten_mask,
                            MaybeSums actual_seq_qlen, MaybeSums actual_cmp_seq_kvlen,
                            MaybeSums actual_sel_seq_kvlen) {
  const Blocks blocks{"npu_nsa_compress_attention", compress_block_size, compress_stride,
                      select_block_size, select_block_count};
  refuse_on_950(blocks.op, "npu_sparse_flash_attention");
  check(blocks);
  check_operands(blocks.op, query, key, value, head_num);
  TORCH_CHECK_VALUE(
      key.size(1) > 0 && head_num % key.size(1) == 0 && value.size(1) == key.size(1) &&
          value.size(0) == key.size(0) && key.size(2) == query.size(2),
      blocks.op,
      ": expected key of query's width and heads that divide head_num, and value of its ",
      "tokens, got ", key.sizes(), " and ", value.sizes());
  const auto floats = query.options().dtype(at::kFloat);
  const std::int64_t tokens = query.size(0);
  const Results results{.out = at::zeros({tokens, head_num, value.size(2)}, query.options()),
                        .indices = at::zeros({tokens, key.size(1), select_block_count},
                                             query.options().dtype(at::kInt)),
                        .greatest = at::zeros({tokens, head_num}, floats),
                        .sum = at::zeros({tokens, head_num}, floats)};
  if (!query.is_meta()) {
    const std::int64_t most = std::numeric_limits<std::int32_t>::max();
    const Sequences sequences{
        .queries = spans_of(blocks.op, "actual_seq_qlen", actual_seq_qlen, tokens),
        .keys = spans_of(blocks.op, "actual_cmp_seq_kvlen", actual_cmp_seq_kvlen, key.size(0)),
        .blocks = spans_of(blocks.op, "actual_sel_seq_kvlen", actual_sel_seq_kvlen, most)};
    TORCH_CHECK_VALUE(sequences.keys.size() == sequences.queries.size() &&
                          sequences.blocks.size() == sequences.queries.size(),
                      blocks.op, ": expected actual_cmp_seq_kvlen and actual_sel_seq_kvlen of ",
                      sequences.queries.size(), " sequences, got ", sequences.keys.size(), " and ",
                      sequences.blocks.size());
    const at::Tensor wide[] = {widened(query), widened(key), widened(value)};
    const Prompt on{blocks, wide[0], wide[1], wide[2], topk_mask, atten_mask, scale_value};
    for (std::size_t s = 0; s < sequences.queries.size(); ++s) {
      if (sequences.queries[s].length > 0 && sequences.keys[s].length > 0)
        attend_sequence(on, sequences, s, results);
    }
  }
  return {results.out, results.indices, repeated(results.greatest), repeated(results.sum)};
}

// --- one token a sequence, keys in pages
constexpr std::int64_t kAlways = 3;  // the first block and the last two

// Blocks of [rows, blocks]: those that are always chosen, then the best of the others.
at::Tensor blocks_of_token(const at::Tensor& scores, const Blocks& blocks) {
  const std::int64_t count = scores.size(1);
  TORCH_CHECK_VALUE(blocks.count >= kAlways && blocks.count <= count, blocks.op,
                    ": expected select_block_count in [3, ", count,
                    "], the blocks of a sequence, got ", blocks.count);
  const at::Tensor chosen =
      at::zeros({scores.size(0), blocks.count}, scores.options().dtype(at::kInt));
  chosen.select(1, 1).fill_(count - 2);
  chosen.select(1, 2).fill_(count - 1);
  const at::Tensor middle = scores.narrow(1, 1, count - kAlways);
  chosen.narrow(1, kAlways, blocks.count - kAlways)
      .copy_(best_blocks(middle, blocks.count - kAlways) + 1);
  return chosen;
}

using Two = std::tuple<at::Tensor, at::Tensor>;

Two nsa_compress_attention_infer(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, double scale_value,
    std::int64_t head_num, std::int64_t key_value_head_num, std::int64_t select_block_size,
    std::int64_t select_block_count, std::int64_t page_block_size, std::int64_t compress_block_size,
    std::int64_t compress_stride, c10::string_view layout,
    const MaybeTensor& /*atten_mask: of several tokens*/, const MaybeTensor& block_table,
    const MaybeTensor& /*topk_mask: reserved*/, MaybeSums actual_seq_qlen,
    MaybeSums actual_cmp_seq_kvlen, MaybeSums /*actual_sel_seq_kvlen*/) {
  const Blocks blocks{"npu_nsa_compress_attention_infer", compress_block_size, compress_stride,
                      select_block_size, select_block_count};
  refuse_on_950(blocks.op, "npu_sparse_flash_attention");
  check(blocks);
  TORCH_CHECK_VALUE(layout == "TND" || layout == "BSND", blocks.op,
                    ": expected layout TND or BSND, got ", layout);
  const bool flat = layout == "TND";
  TORCH_CHECK_VALUE(query.dim() == (flat ? 3 : 4), blocks.op, ": expected query of ", flat ? 3 : 4,
                    " axes in layout ", layout, ", got ", query.sizes());
  const bool single = flat || query.size(1) == 1;
  TORCH_CHECK_NOT_IMPLEMENTED(
      single && !actual_seq_qlen.has_value(), blocks.op,
      ": several tokens a sequence are not built; give one, without actual_seq_qlen");
  const at::Tensor tokens = flat ? query : query.squeeze(1);
  check_operands(blocks.op, tokens, key, value, head_num);
  const std::int64_t kv_heads = key_value_head_num;
  TORCH_CHECK_VALUE(
      kv_heads > 0 && head_num % kv_heads == 0 && key.size(2) == kv_heads * tokens.size(2) &&
          value.size(2) % kv_heads == 0 && key.size(1) == page_block_size,
      blocks.op, ": expected key of [blocks, ", page_block_size, ", ", kv_heads, " * ",
      tokens.size(2), "] and value of its heads, got ", key.sizes(), " and ", value.sizes());
  std::vector<std::int64_t> sizes = query.sizes().vec();
  sizes.back() = value.size(2) / kv_heads;
  const at::Tensor out = at::zeros(sizes, query.options());
  sizes[sizes.size() - 2] = kv_heads;
  sizes.back() = select_block_count;
  const at::Tensor indices = at::zeros(sizes, query.options().dtype(at::kInt));
  if (query.is_meta()) return {out, indices};
  TORCH_CHECK_VALUE(given(block_table) && actual_cmp_seq_kvlen.has_value(), blocks.op,
                    ": expected block_table and actual_cmp_seq_kvlen, got None");
  const Integers lengths =
      lengths_for({.op = blocks.op, .argument = "actual_cmp_seq_kvlen"},
                  Integers(actual_cmp_seq_kvlen->begin(), actual_cmp_seq_kvlen->end()),
                  tokens.size(0), std::numeric_limits<std::int32_t>::max());
  const Placement placement = paged_placement(blocks.op, *block_table, lengths,
                                              {.count = key.size(0), .tokens = page_block_size});
  const at::Tensor keys = heads_first(key, Axes::kBsh, kv_heads);
  const at::Tensor values = heads_first(value, Axes::kBsh, kv_heads);
  const at::Tensor to_out = out.reshape({tokens.size(0), head_num, -1});
  const at::Tensor to_indices = indices.reshape({tokens.size(0), kv_heads, -1});
  const std::int64_t shared = head_num / kv_heads;
  for (std::int64_t b = 0; b < tokens.size(0); ++b) {
    const std::int64_t length = placement.length(b);
    if (length == 0) continue;
    const std::int64_t count =
        ((length - 1) * blocks.stride + blocks.window + blocks.size - 1) / blocks.size;
    for (std::int64_t head = 0; head < kv_heads; ++head) {
      const TokenRange range{b, head, 0, length};
      const at::Tensor own = widened(tokens[b].narrow(0, head * shared, shared)).unsqueeze(1);
      const Attended attended =
          attend_all(own, widened(rows_of(keys, placement, range)),
                     widened(rows_of(values, placement, range)), scale_value, {});
      to_out[b].narrow(0, head * shared, shared).copy_(attended.out.squeeze(1));
      const at::Tensor scores = importance(attended.weights.sum(0), blocks, count);
      to_indices[b][head].copy_(blocks_of_token(scores, blocks).squeeze(0));
    }
  }
  return {out, indices};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&nsa_compress_attention>(m, "npu_nsa_compress_attention");
  composed_kernel<&nsa_compress_attention_infer>(m, "npu_nsa_compress_attention_infer");
}

}  // namespace
}  // namespace npu_sim::ops
