// npu_nsa_compress, npu_nsa_compress_grad and npu_nsa_compress_infer: windows of
// compress_block_size tokens, compress_stride apart, become one token each, out[i] = sum_j input[i
// stride + j] weight[j].
//
// input [tokens, heads, width] of sequences one after another, weight [block, heads]. The cards
// before the Ascend 950 have these. Source: op-plugin@517f2e7d, tests; cann/ops-transformer,
// aclnnNsaCompress*.md.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/attention/card_lacks.h"
#include "ops/attention/infer_layout.h"
#include "ops/attention/paged_source.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: every token is multiplied by the weights of the windows it is in.
constexpr aten::Entry kEntries[] = {
    {"npu_nsa_compress", aten::elements<2>},
    {"npu_nsa_compress_grad", aten::elements<4>},
    {"npu_nsa_compress_infer", aten::elements<2>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using Lengths64 = at::OptionalIntArrayRef;

struct Windows {
  const char* op;
  std::int64_t block = 0;
  std::int64_t stride = 0;

  [[nodiscard]] std::int64_t count(std::int64_t tokens) const {
    return tokens < block ? 0 : (tokens - block) / stride + 1;
  }
};

void check(const Windows& windows, const at::Tensor& input, const at::Tensor& weight) {
  const at::ScalarType dtype = input.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kHalf || dtype == at::kBFloat16, windows.op,
                   ": expected input of float16 or bfloat16, got ", dtype);
  TORCH_CHECK_TYPE(weight.scalar_type() == dtype, windows.op, ": expected weight of input's ",
                   dtype, ", got ", weight.scalar_type());
  TORCH_CHECK_VALUE(
      windows.stride > 0 && windows.block >= windows.stride, windows.op,
      ": expected compress_block_size of at least compress_stride, and both above 0, got ",
      windows.block, " and ", windows.stride);
  TORCH_CHECK_VALUE(input.dim() >= 3 && weight.dim() == 2 && weight.size(0) == windows.block &&
                        weight.size(1) == input.size(-2),
                    windows.op, ": expected weight of [", windows.block,
                    ", heads] as input's, got ", weight.sizes(), " for input ", input.sizes());
}

std::vector<TokenSpan> sequences_of(const Windows& windows, const at::Tensor& input,
                                    const Lengths64& sums) {
  TORCH_CHECK_VALUE(input.dim() == 3, windows.op,
                    ": expected input of [tokens, heads, width], got ", input.sizes());
  TORCH_CHECK_VALUE(sums.has_value() && !sums->empty() && sums->back() == input.size(0), windows.op,
                    ": expected actual_seq_len of running sums that end at ", input.size(0),
                    ", got ", sums.has_value() ? *sums : at::IntArrayRef{});
  const Lengths lengths{.name = {.op = windows.op, .argument = "actual_seq_len"},
                        .values = Integers(sums->begin(), sums->end()),
                        .padding = {}};
  return token_spans(lengths, Axes::kTnd, {1, input.size(1), input.size(0), input.size(2)});
}

// Token j of each of `count` windows.
at::Tensor tokens_at(const at::Tensor& sequence, const Windows& windows, std::int64_t j,
                     std::int64_t count) {
  return sequence.slice(0, j, j + (count - 1) * windows.stride + 1, windows.stride);
}

at::Tensor nsa_compress(const at::Tensor& input, const at::Tensor& weight, std::int64_t block,
                        std::int64_t stride, Lengths64 sums) {
  const Windows windows{"npu_nsa_compress", block, stride};
  refuse_on_950(windows.op, "npu_sparse_flash_attention");
  check(windows, input, weight);
  const std::vector<TokenSpan> sequences = sequences_of(windows, input, sums);
  std::int64_t rows = 0;
  for (const TokenSpan& span : sequences) rows += windows.count(span.length);
  const std::vector<std::int64_t> sizes{rows, input.size(1), input.size(2)};
  if (input.is_meta()) return at::empty(sizes, input.options());
  const at::Tensor out = at::zeros(sizes, input.options().dtype(at::kFloat));
  const at::Tensor wide = widened(input);
  const at::Tensor weights = widened(weight).unsqueeze(-1);
  std::int64_t row = 0;
  for (const TokenSpan& span : sequences) {
    const std::int64_t count = windows.count(span.length);
    if (count == 0) continue;
    const at::Tensor sequence = wide.narrow(0, span.first, span.length);
    const at::Tensor to = out.narrow(0, row, count);
    for (std::int64_t j = 0; j < block; ++j)
      to.add_(tokens_at(sequence, windows, j, count) * weights[j]);
    row += count;
  }
  return out.to(input.scalar_type());
}

using Two = std::tuple<at::Tensor, at::Tensor>;

Two nsa_compress_grad(const at::Tensor& grad, const at::Tensor& input, const at::Tensor& weight,
                      std::int64_t block, std::int64_t stride, Lengths64 sums) {
  const Windows windows{"npu_nsa_compress_grad", block, stride};
  refuse_on_950(windows.op, "npu_sparse_flash_attention");
  check(windows, input, weight);
  const std::vector<TokenSpan> sequences = sequences_of(windows, input, sums);
  std::int64_t rows = 0;
  for (const TokenSpan& span : sequences) rows += windows.count(span.length);
  TORCH_CHECK_VALUE(grad.sizes() == at::IntArrayRef({rows, input.size(1), input.size(2)}),
                    windows.op, ": expected grad of [", rows, ", ", input.size(1), ", ",
                    input.size(2), "], got ", grad.sizes());
  if (input.is_meta()) return {at::empty_like(input), at::empty_like(weight)};
  const at::Tensor wide = widened(input);
  const at::Tensor weights = widened(weight).unsqueeze(-1);
  const at::Tensor grads = widened(grad);
  const at::Tensor to_input = at::zeros_like(wide);
  const at::Tensor to_weight = at::zeros_like(widened(weight));
  std::int64_t row = 0;
  for (const TokenSpan& span : sequences) {
    const std::int64_t count = windows.count(span.length);
    if (count == 0) continue;
    const at::Tensor from = grads.narrow(0, row, count);
    for (std::int64_t j = 0; j < block; ++j) {
      tokens_at(to_input.narrow(0, span.first, span.length), windows, j, count)
          .add_(from * weights[j]);
      const at::Tensor tokens =
          tokens_at(wide.narrow(0, span.first, span.length), windows, j, count);
      to_weight[j].add_((from * tokens).sum(at::IntArrayRef{0, 2}));
    }
    row += count;
  }
  return {to_input.to(input.scalar_type()), to_weight.to(weight.scalar_type())};
}

// The last `count` tokens of a sequence of `length`: in pages, or of sequences one after another.
at::Tensor last_tokens(const at::Tensor& input, const Placement& placement, std::int64_t sequence,
                       std::int64_t count) {
  const std::int64_t first = placement.length(sequence) - count;
  if (!placement.paged()) {
    return input.narrow(0, placement.spans[static_cast<std::size_t>(sequence)].first + first,
                        count);
  }
  const at::Tensor flat = input.flatten(2).unsqueeze(1);  // a page as one head
  return rows_of(flat, placement, {sequence, 0, first, count})
      .unflatten(-1, {input.size(2), input.size(3)});
}

Placement placement_of(const Windows& windows, const at::Tensor& input, const MaybeTensor& table,
                       const Integers& lengths) {
  if (given(table)) {
    TORCH_CHECK_VALUE(input.dim() == 4, windows.op,
                      ": expected input of [blocks, tokens, heads, width], got ", input.sizes());
    return paged_placement(windows.op, *table, lengths,
                           {.count = input.size(0), .tokens = input.size(1)});
  }
  TORCH_CHECK_VALUE(input.dim() == 3, windows.op,
                    ": expected input of [tokens, heads, width], got ", input.sizes());
  Placement placement;
  std::int64_t first = 0;
  for (const std::int64_t length : lengths) {
    TORCH_CHECK_VALUE(length >= 0 && first + length <= input.size(0), windows.op,
                      ": expected actual_seq_len of lengths that sum to ", input.size(0),
                      " at most, got ", at::IntArrayRef(lengths));
    placement.spans.push_back({.first = first, .length = length});
    first += length;
  }
  return placement;
}

at::Tensor& nsa_compress_infer(const at::Tensor& input, const at::Tensor& weight,
                               const at::Tensor& slot_mapping, std::int64_t block,
                               std::int64_t stride, std::int64_t page_block_size,
                               const MaybeTensor& block_table, Lengths64 actual_seq_len,
                               at::Tensor& cache) {
  const Windows windows{"npu_nsa_compress_infer", block, stride};
  refuse_on_950(windows.op, "npu_sparse_flash_attention");
  check(windows, input, weight);
  TORCH_CHECK_VALUE(!given(block_table) || input.size(1) == page_block_size, windows.op,
                    ": expected page_block_size of input's ", input.size(1), ", got ",
                    page_block_size);
  TORCH_CHECK_VALUE(actual_seq_len.has_value(), windows.op, ": expected actual_seq_len, got None");
  TORCH_CHECK_VALUE(
      cache.dim() == 3 && cache.size(1) == input.size(-2) && cache.size(2) == input.size(-1) &&
          cache.scalar_type() == input.scalar_type(),
      windows.op, ": expected cache of [tokens, heads, width] as input's, got ", cache.sizes());
  if (cache.is_meta()) return cache;
  const Integers lengths(actual_seq_len->begin(), actual_seq_len->end());
  const Integers slots = integers_of({.op = windows.op, .argument = "slot_mapping"}, slot_mapping);
  TORCH_CHECK_VALUE(slots.size() == lengths.size(), windows.op, ": expected slot_mapping of ",
                    lengths.size(), " sequences, got ", slots.size());
  const Placement placement = placement_of(windows, input, block_table, lengths);
  const at::Tensor weights = widened(weight).unsqueeze(-1);
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] < block || (lengths[i] - block) % stride != 0) continue;  // no window ends here
    TORCH_CHECK_INDEX(slots[i] >= 0 && slots[i] < cache.size(0), windows.op,
                      ": expected slot_mapping in [0, ", cache.size(0), "), got ", slots[i]);
    const at::Tensor tokens = last_tokens(input, placement, static_cast<std::int64_t>(i), block);
    cache[slots[i]].copy_((widened(tokens) * weights).sum(0));
  }
  return cache;
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&nsa_compress>(m, "npu_nsa_compress");
  composed_kernel<&nsa_compress_grad>(m, "npu_nsa_compress_grad");
  composed_kernel<&nsa_compress_infer>(m, "npu_nsa_compress_infer.cache");
  derivative(m, "npu_nsa_compress",
             "input, weight: npu_nsa_compress_grad(grad, input, weight, compress_block_size, "
             "compress_stride, "
             "actual_seq_len=actual_seq_len)");
}

}  // namespace
}  // namespace npu_sim::ops
