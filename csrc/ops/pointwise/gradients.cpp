// Small operators that torch's own call: the gradients of binary cross entropy and of renorm, one_,
// and the statistics that several cards gathered for a batch norm.
#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work
model::Work renorm_backward_work(const aten::Call& call) {
  const at::Tensor& input = aten::tensor_at(call, 1);
  const std::int64_t rows = aten::size_along(input, aten::integer_at(call, 3, 0));
  return aten::row_wise(call, aten::ratio(input.numel(), rows),
                        {.linear = 9, .special = 1, .reductions = 2, .passes = 2});
}
model::Work ones_work(const aten::Call& call) { return aten::work_of::fill(call.result()); }
constexpr aten::Entry kEntries[] = {
    {"npu_binary_cross_entropy_with_logits_backward", aten::elements<7, 2>},
    {"npu_renorm_backward", renorm_backward_work},
    {"one_", ones_work},
    {"batch_norm_gather_stats_update", aten::elements<8, 2>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// With w+ = pos_weight: ((w+ t + 1 - t) sigmoid(x) - w+ t) weight grad, over the count for a mean.
at::Tensor bce_with_logits_backward(const at::Tensor& grad_output, const at::Tensor& input,
                                    const at::Tensor& target,
                                    const std::optional<at::Tensor>& weight,
                                    const std::optional<at::Tensor>& pos_weight,
                                    std::int64_t reduction) {
  constexpr const char* kOp = "npu_binary_cross_entropy_with_logits_backward";
  constexpr std::int64_t kMean = 1;
  constexpr std::int64_t kSum = 2;
  TORCH_CHECK_TYPE(input.is_floating_point() && target.is_floating_point(), kOp,
                   ": expected floating input and target, got ", input.scalar_type(), " and ",
                   target.scalar_type());
  TORCH_CHECK_VALUE(input.sizes() == target.sizes(), kOp,
                    ": expected target of the shape of input ", input.sizes(), ", got ",
                    target.sizes());
  TORCH_CHECK_VALUE(reduction >= 0 && reduction <= kSum, kOp,
                    ": expected reduction 0 (none), 1 (mean) or 2 (sum), got ", reduction);
  const at::Tensor t = widened(target);
  const at::Tensor s = at::sigmoid(widened(input));
  at::Tensor grad = s - t;
  if (given(pos_weight)) {
    const at::Tensor positive = widened(*pos_weight) * t;
    grad = (positive + 1 - t) * s - positive;
  }
  if (given(weight)) grad = grad * widened(*weight);
  grad = grad * widened(grad_output);
  if (reduction == kMean) grad = grad / static_cast<double>(input.numel());
  TORCH_CHECK_VALUE(grad.sizes() == input.sizes(), kOp,
                    ": expected grad_output and weights that broadcast to input ", input.sizes(),
                    ", got a gradient of ", grad.sizes());
  return grad.to(target.scalar_type());
}

// d|x|_p / dx, times `grad` [of the norm's shape].
at::Tensor norm_gradient(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& norm,
                         double p, at::IntArrayRef axes) {
  if (p == 0) return x * 0;
  if (p == 1) return x.sgn() * grad;
  if (std::isinf(p)) {
    const at::Tensor is_norm = x.abs().eq(norm).logical_or(x.isnan());
    return x.sgn() * (grad / is_norm.sum(axes, true)) * is_norm;
  }
  const at::Tensor scale = (grad / at::pow(norm, p - 1)).masked_fill(norm.eq(0), 0);
  const at::Tensor power = at::pow(x.abs(), p - 1);
  return x.sgn() * (p < 1 ? power.masked_fill(x.eq(0), 0) : power) * scale;
}

// Of x -> x maxnorm / (|x| + 1e-7) where the norm of a slice along `dim` exceeds maxnorm.
at::Tensor renorm_backward(const at::Tensor& grad, const at::Tensor& input, const at::Scalar& p,
                           std::int64_t dim, const at::Scalar& maxnorm) {
  constexpr const char* kOp = "npu_renorm_backward";
  TORCH_CHECK_TYPE(input.is_floating_point(), kOp, ": expected a floating input, got ",
                   input.scalar_type());
  TORCH_CHECK_VALUE(input.dim() > 1 && grad.sizes() == input.sizes(), kOp,
                    ": expected grad of the shape of input, with at least 2 axes, got ",
                    grad.sizes(), " and ", input.sizes());
  TORCH_CHECK_INDEX(dim >= -input.dim() && dim < input.dim(), kOp, ": expected dim in [",
                    -input.dim(), ", ", input.dim() - 1, "], got ", dim);
  std::vector<std::int64_t> axes;
  for (std::int64_t axis = 0; axis < input.dim(); ++axis) {
    if (axis != (dim < 0 ? dim + input.dim() : dim)) axes.push_back(axis);
  }
  const at::Tensor x = widened(input);
  const at::Tensor g = widened(grad);
  const at::Tensor norm = at::linalg_vector_norm(x, p, axes, true);
  const at::Tensor inverse = (norm + 1e-7).reciprocal();
  const at::Tensor along = norm_gradient((x * g).sum(axes, true), x, norm, p.toDouble(), axes);
  const at::Tensor shrunk = inverse * (g - inverse * along) * maxnorm;
  return at::where(norm.gt(maxnorm), shrunk, g).to(grad.scalar_type());
}

at::Tensor& one_(at::Tensor& input) { return input.fill_(1); }

// Sums and sums of squares of every card [cards, channels] -> mean and 1 / sqrt(var + eps); the
// running statistics, where given, move by `momentum` in place.
std::tuple<at::Tensor, at::Tensor> gather_stats_update(
    const at::Tensor& input, const at::Tensor& sum, const at::Tensor& square_sum,
    const std::optional<at::Tensor>& running_mean, const std::optional<at::Tensor>& running_var,
    double momentum, double eps, const at::Tensor& counts) {
  constexpr const char* kOp = "batch_norm_gather_stats_update";
  TORCH_CHECK_VALUE(input.dim() >= 2 && sum.dim() == 2 && sum.size(1) == input.size(1) &&
                        square_sum.sizes() == sum.sizes(),
                    kOp, ": expected sums [cards, C] for input ", input.sizes(), ", got ",
                    sum.sizes(), " and ", square_sum.sizes());
  TORCH_CHECK_VALUE(counts.dim() == 1 && counts.size(0) == sum.size(0), kOp,
                    ": expected counts [cards], got ", counts.sizes());
  TORCH_CHECK_TYPE(sum.is_floating_point() && square_sum.is_floating_point(), kOp,
                   ": expected floating sums, got ", sum.scalar_type(), " and ",
                   square_sum.scalar_type());
  const at::Tensor count = counts.to(at::kInt).sum();
  const at::Tensor mean = widened(sum).sum(0) / count;
  const at::Tensor var = widened(square_sum).sum(0) / count - mean * mean;
  const auto move = [&](const std::optional<at::Tensor>& running, const at::Tensor& now) {
    if (!running || !running->defined()) return;
    TORCH_CHECK_VALUE(running->sizes() == now.sizes(), kOp, ": expected running statistics of ",
                      now.sizes(), ", got ", running->sizes());
    running->copy_(widened(*running) * (1 - momentum) + now * momentum);
  };
  move(running_mean, mean);
  move(running_var, var);
  return {mean.to(sum.scalar_type()), at::rsqrt(var + eps).to(sum.scalar_type())};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&bce_with_logits_backward>(m, "npu_binary_cross_entropy_with_logits_backward");
  composed_kernel<&renorm_backward>(m, "npu_renorm_backward");
  composed_kernel<&one_>(m, "one_");
  composed_kernel<&gather_stats_update>(m, "batch_norm_gather_stats_update");
}

}  // namespace
}  // namespace npu_sim::ops
