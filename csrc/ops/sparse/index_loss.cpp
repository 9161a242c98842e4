#include "ops/sparse/index_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <c10/util/Exception.h>

#include <limits>

namespace npu_sim::ops {
namespace {

constexpr double kLeast = 1e-8;  // below it a probability's logarithm is taken as of this

void check_sizes(const LossOperands& on) {
  const std::int64_t axes = on.query.dim();
  const std::int64_t heads = on.query.size(-2);
  const std::int64_t key_heads = on.key.size(-2);
  TORCH_CHECK_VALUE(heads % key_heads == 0 && on.key.size(-1) == on.query.size(-1), on.op,
                    ": expected key of query's width and of heads that divide its ", heads,
                    ", got ", on.key.sizes());
  TORCH_CHECK_VALUE(on.key_index.size(-2) == 1 && on.key_index.size(-1) == on.query_index.size(-1),
                    on.op, ": expected key_index of one head as wide as query_index's ",
                    on.query_index.size(-1), ", got ", on.key_index.sizes());
  const auto tokens = [axes](const at::Tensor& x) { return x.sizes().slice(0, axes - 2); };
  TORCH_CHECK_VALUE(
      tokens(on.query) == tokens(on.query_index) && tokens(on.key) == tokens(on.key_index), on.op,
      ": expected query_index and key_index of the tokens of query ", on.query.sizes(), " and key ",
      on.key.sizes(), ", got ", on.query_index.sizes(), " and ", on.key_index.sizes());
  TORCH_CHECK_VALUE(on.weights.sizes() == on.query_index.sizes().slice(0, axes - 1), on.op,
                    ": expected weights of ", on.query_index.sizes().slice(0, axes - 1), ", got ",
                    on.weights.sizes());
  const std::vector<std::int64_t> statistics =
      axes == 3 ? std::vector{key_heads, on.query.size(0), heads / key_heads}
                : std::vector{on.query.size(0), key_heads, on.query.size(1), heads / key_heads};
  TORCH_CHECK_VALUE(on.largest.sizes() == statistics && on.sum.sizes() == statistics, on.op,
                    ": expected softmax_max and softmax_sum of ", at::IntArrayRef(statistics),
                    ", got ", on.largest.sizes(), " and ", on.sum.sizes());
}

}  // namespace

at::Tensor target_of(const TargetBlock& block, const at::Tensor& seen) {
  const std::int64_t queries = block.query.size(0);
  const std::int64_t heads = block.query.size(1);
  const std::int64_t key_heads = block.key.size(0);
  // [key heads, queries x group, width] @ [key heads, width, keys]
  const at::Tensor grouped =
      block.query.unflatten(1, {key_heads, heads / key_heads}).permute({1, 0, 2, 3}).flatten(1, 2);
  const at::Tensor scores = at::bmm(grouped, block.key.transpose(1, 2))
                                .view({key_heads, queries, heads / key_heads, -1})
                                .permute({1, 0, 2, 3})
                                .flatten(1, 2) *
                            block.scale;
  const at::Tensor p = ((scores - block.largest.unsqueeze(-1)).exp() / block.sum.unsqueeze(-1))
                           .sum(1)
                           .masked_fill(seen.logical_not(), 0);
  if (!block.normalises) return p / static_cast<double>(heads);
  return p / p.sum(-1, true).clamp_min(std::numeric_limits<float>::min());
}

IndexGradients index_gradients(const IndexBlock& block, const at::Tensor& target,
                               const at::Tensor& seen, const IndexStatistics& statistics,
                               at::ScalarType dtype) {
  const at::Tensor products = index_products(block).relu_();
  const at::Tensor scores =
      at::bmm(block.weights.unsqueeze(1), products)
          .squeeze(1)
          .masked_fill(seen.logical_not(), -std::numeric_limits<double>::infinity());
  const at::Tensor largest =
      statistics.largest.defined() ? statistics.largest.unsqueeze(-1) : scores.amax(-1, true);
  const at::Tensor raised = (scores - largest).exp().masked_fill(seen.logical_not(), 0);
  const at::Tensor sum =
      statistics.sum.defined() ? statistics.sum.unsqueeze(-1) : raised.sum(-1, true);
  const at::Tensor y = (raised / sum).masked_fill(seen.logical_not(), 0);
  const at::Tensor difference = y - target;
  const at::Tensor loss =
      (target * (target.clamp_min(kLeast).log() - y.clamp_min(kLeast).log())).sum();
  const at::Tensor through = (difference.unsqueeze(1) * block.weights.unsqueeze(-1))
                                 .masked_fill(products <= 0, 0)
                                 .to(dtype)
                                 .to(at::kFloat);
  const std::int64_t keys = block.key.size(0);
  return {.query = at::matmul(through, block.key),
          .weights = (difference.unsqueeze(1) * products).sum(-1),
          .key = at::matmul(through.reshape({-1, keys}).t(), block.query.flatten(0, 1)),
          .loss = loss};
}

at::Tensor statistics_by_token(const at::Tensor& statistics) {
  if (statistics.dim() == 3) return statistics.transpose(0, 1).flatten(1);
  return statistics.transpose(1, 2).flatten(2).flatten(0, 1);
}

at::Tensor joined(const char* op, const at::Tensor& tensor, const MaybeTensor& rope) {
  if (!given(rope)) return tensor;
  const bool fits =
      rope->dim() == tensor.dim() && rope->dim() > 0 &&
      rope->sizes().slice(0, rope->dim() - 1) == tensor.sizes().slice(0, tensor.dim() - 1);
  TORCH_CHECK_VALUE(fits && rope->scalar_type() == tensor.scalar_type(), op,
                    ": expected a rope part of the leading axes and dtype of ", tensor.sizes(), " ",
                    tensor.scalar_type(), ", got ", rope->sizes(), " ", rope->scalar_type());
  return at::cat({tensor, *rope}, -1);
}

void check_loss(const LossOperands& on) {
  check_layouts(on.op, on.layout, on.layout);
  const std::int64_t axes = on.layout == "TND" ? 3 : 4;
  for (const at::Tensor* const x : {&on.query, &on.key, &on.query_index, &on.key_index}) {
    TORCH_CHECK_VALUE(x->dim() == axes && x->numel() > 0, on.op,
                      ": expected query, key, query_index and key_index of ", axes,
                      " axes in layout ", on.layout, ", none of them empty, got ", x->sizes());
    TORCH_CHECK_TYPE(x->scalar_type() == on.query.scalar_type() && x->is_floating_point(), on.op,
                     ": expected query, key, query_index and key_index of one float dtype, got ",
                     x->scalar_type(), " and ", on.query.scalar_type());
  }
  check_sizes(on);
}

}  // namespace npu_sim::ops
