// npu_rms_norm, its gradient, and npu_gemma_rms_norm: x / sqrt(mean(x^2) + epsilon) * gamma.
#include "ops/norm/rms_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/rsqrt.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/norm/row_describers.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: square, sum, scale, gamma.
constexpr aten::VectorCost kForward{.linear = 4, .reductions = 1, .passes = 2};
constexpr aten::VectorCost kGemma{.linear = 5, .reductions = 1, .passes = 2};
// The products with gamma and with x, their row sum, and the column sums of gamma's gradient.
constexpr aten::VectorCost kBackward{.linear = 9, .reductions = 1, .passes = 2};
constexpr aten::Entry kEntries[] = {
    {"npu_rms_norm", normalized_rows<1, kForward>},
    {"npu_gemma_rms_norm", normalized_rows<1, kGemma>},
    {"npu_rms_norm_backward", normalized_rows<2, kBackward>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& input, const at::Tensor& gamma,
                                            double epsilon) {
  check_gamma("npu_rms_norm", input, gamma);
  const Normalized result = normalize_rms(widened(input), widened(gamma), epsilon);
  return {result.y.to(input.scalar_type()), result.rstd};
}

std::tuple<at::Tensor, at::Tensor> gemma_rms_norm(const at::Tensor& input, const at::Tensor& gamma,
                                                  double epsilon) {
  check_gamma("npu_gemma_rms_norm", input, gamma);
  const Normalized result = normalize_rms(widened(input), widened(gamma) + 1, epsilon);
  return {result.y.to(input.scalar_type()), result.rstd};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& dy, const at::Tensor& input,
                                                     const at::Tensor& gamma,
                                                     const at::Tensor& rstd) {
  check_gamma("npu_rms_norm_backward", input, gamma);
  TORCH_CHECK_VALUE(dy.sizes() == input.sizes(), "npu_rms_norm_backward: expected dy of ",
                    input.sizes(), ", the shape of input, got ", dy.sizes());
  const RmsNormGrads grads = rms_norm_grads(dy, input, gamma, rstd);
  return {grads.x.to(input.scalar_type()), grads.gamma};  // the card leaves gamma's in fp32
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&rms_norm>(m, "npu_rms_norm");
  composed_kernel<&gemma_rms_norm>(m, "npu_gemma_rms_norm");
  composed_kernel<&rms_norm_backward>(m, "npu_rms_norm_backward");
  derivative(m, "npu_rms_norm", "input, gamma: npu_rms_norm_backward(grad, input, gamma, result1)");
}

}  // namespace

std::vector<std::int64_t> normalized_axes(const at::Tensor& input, const at::Tensor& gamma) {
  std::vector<std::int64_t> axes;
  for (std::int64_t axis = input.dim() - gamma.dim(); axis < input.dim(); ++axis) {
    axes.push_back(axis);
  }
  return axes;
}

void check_gamma(const char* op, const at::Tensor& input, const at::Tensor& gamma) {
  TORCH_CHECK_TYPE(input.is_floating_point() && gamma.is_floating_point(), op,
                   ": expected floating input and gamma, got ", input.scalar_type(), " and ",
                   gamma.scalar_type());
  const bool fits = gamma.dim() >= 1 && gamma.dim() <= input.dim() &&
                    input.sizes().slice(input.dim() - gamma.dim()) == gamma.sizes();
  TORCH_CHECK_VALUE(fits, op, ": expected gamma of the last axes of input ", input.sizes(),
                    ", got ", gamma.sizes());
}

Normalized normalize_rms(const at::Tensor& input, const at::Tensor& gamma, double epsilon) {
  const at::Tensor mean = (input * input).mean(normalized_axes(input, gamma), true);
  const at::Tensor rstd = at::rsqrt(mean + epsilon);
  return {.y = input * rstd * gamma, .rstd = rstd};
}

// With n = x rstd and g = dy gamma: dx = rstd (g - n mean(g n)), dgamma = sum over rows of dy n.
RmsNormGrads rms_norm_grads(const at::Tensor& dy, const at::Tensor& input, const at::Tensor& gamma,
                            const at::Tensor& rstd) {
  const at::Tensor grad = widened(dy);
  const at::Tensor normalized = widened(input) * rstd;
  const at::Tensor scaled = grad * widened(gamma);
  const at::Tensor mean = (scaled * normalized).mean(normalized_axes(input, gamma), true);
  return {.x = (scaled - normalized * mean) * rstd,
          .gamma = (grad * normalized).sum_to_size(gamma.sizes())};
}

Sum sum_of(const char* op, const at::Tensor& x1, const at::Tensor& x2, const at::Tensor& gamma) {
  check_gamma(op, x1, gamma);
  TORCH_CHECK_VALUE(x1.sizes() == x2.sizes(), op, ": expected x2 of ", x1.sizes(),
                    ", the shape of x1, got ", x2.sizes());
  TORCH_CHECK_TYPE(x1.scalar_type() == x2.scalar_type(), op, ": expected x2 of ", x1.scalar_type(),
                   ", the dtype of x1, got ", x2.scalar_type());
  const at::Tensor wide = widened(x1) + widened(x2);
  return {.wide = wide, .narrow = wide.to(x1.scalar_type())};
}

}  // namespace npu_sim::ops
