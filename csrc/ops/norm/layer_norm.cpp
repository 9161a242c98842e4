// npu_add_layer_norm and npu_deep_norm: the layer norm of a sum, and their gradients.
#include <ATen/TensorOperators.h>
#include <ATen/ops/rsqrt.h>

#include "aten/describe/registry.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/norm/rms_norm.h"
#include "ops/norm/row_describers.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: add (and scale), sum, subtract, square, sum, scale, gamma, beta.
constexpr aten::VectorCost kForward{.linear = 9, .reductions = 2, .passes = 2};
// The norm again, the products with gamma and with it, two row sums, gamma's and beta's sums.
constexpr aten::VectorCost kBackward{.linear = 14, .reductions = 2, .passes = 2};
constexpr aten::Entry kEntries[] = {
    {"npu_add_layer_norm", normalized_rows<2, kForward>},
    {"npu_add_layer_norm_backward", normalized_rows<5, kBackward>},
    {"npu_deep_norm", normalized_rows<3, kForward>},
    {"npu_deep_norm_backward", normalized_rows<3, kBackward>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
struct LayerNorm {
  at::Tensor y;
  at::Tensor mean;  // like rstd: the axes before gamma's, then ones
  at::Tensor rstd;
};

LayerNorm layer_norm(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                     double epsilon) {
  const auto axes = normalized_axes(x, gamma);
  const at::Tensor mean = x.mean(axes, true);
  const at::Tensor centred = x - mean;
  const at::Tensor rstd = at::rsqrt((centred * centred).mean(axes, true) + epsilon);
  return {.y = centred * rstd * widened(gamma) + widened(beta), .mean = mean, .rstd = rstd};
}

struct LayerNormGrad {
  at::Tensor x;
  at::Tensor gamma;
  at::Tensor beta;
};

// With n = (x - mean) rstd and g = dy gamma: dx = rstd (g - mean(g) - n mean(g n)).
LayerNormGrad layer_norm_grad(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& gamma,
                              const at::Tensor& mean, const at::Tensor& rstd) {
  const auto axes = normalized_axes(x, gamma);
  const at::Tensor normalized = (x - mean) * rstd;
  const at::Tensor scaled = dy * widened(gamma);
  const at::Tensor along = (scaled * normalized).mean(axes, true);
  return {.x = (scaled - scaled.mean(axes, true) - normalized * along) * rstd,
          .gamma = (dy * normalized).sum_to_size(gamma.sizes()),
          .beta = dy.sum_to_size(gamma.sizes())};
}

void check_pair(const char* op, const at::Tensor& x1, const at::Tensor& x2,
                const at::Tensor& gamma) {
  check_gamma(op, x1, gamma);
  TORCH_CHECK_VALUE(x1.sizes() == x2.sizes(), op, ": expected two inputs of one shape, got ",
                    x1.sizes(), " and ", x2.sizes());
}

// The sum is returned in the wider dtype of x1 and x2, and so is y.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> add_layer_norm(
    const at::Tensor& x1, const at::Tensor& x2, const at::Tensor& gamma, const at::Tensor& beta,
    double epsilon, bool /*additional_output: the sum is there anyway*/) {
  check_pair("npu_add_layer_norm", x1, x2, gamma);
  const auto dtype = c10::promoteTypes(x1.scalar_type(), x2.scalar_type());
  const at::Tensor sum = widened(x1) + widened(x2);
  const LayerNorm result = layer_norm(sum, gamma, beta, epsilon);
  return {result.y.to(dtype), result.mean, result.rstd, sum.to(dtype)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> add_layer_norm_backward(
    const std::optional<at::Tensor>& dy, const at::Tensor& x1, const at::Tensor& x2,
    const at::Tensor& rstd, const at::Tensor& mean, const at::Tensor& gamma,
    const std::optional<at::Tensor>& dsum) {
  check_pair("npu_add_layer_norm_backward", x1, x2, gamma);
  TORCH_CHECK_VALUE(given(dy) && dy->sizes() == x1.sizes(),
                    "npu_add_layer_norm_backward: expected dy_opt of ", x1.sizes(),
                    ", the shape of x1");
  const at::Tensor sum = widened(x1) + widened(x2);
  const LayerNormGrad grad = layer_norm_grad(widened(*dy), sum, gamma, mean, rstd);
  const at::Tensor dx = given(dsum) ? grad.x + widened(*dsum) : grad.x;
  return {dx.to(x1.scalar_type(), false, true), dx.to(x2.scalar_type(), false, true),
          grad.gamma.to(gamma.scalar_type()), grad.beta.to(gamma.scalar_type())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> deep_norm(const at::Tensor& x, const at::Tensor& gx,
                                                         const at::Tensor& beta,
                                                         const at::Tensor& gamma, double alpha,
                                                         double epsilon) {
  check_pair("npu_deep_norm", x, gx, gamma);
  const LayerNorm result = layer_norm(widened(x) * alpha + widened(gx), gamma, beta, epsilon);
  return {result.mean, result.rstd, result.y.to(x.scalar_type())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> deep_norm_backward(
    const at::Tensor& dy, const at::Tensor& x, const at::Tensor& gx, const at::Tensor& gamma,
    const at::Tensor& mean, const at::Tensor& rstd, double alpha) {
  check_pair("npu_deep_norm_backward", x, gx, gamma);
  const at::Tensor sum = widened(x) * alpha + widened(gx);
  const LayerNormGrad grad = layer_norm_grad(widened(dy), sum, gamma, mean, rstd);
  return {(grad.x * alpha).to(x.scalar_type()), grad.x.to(gx.scalar_type()),
          grad.beta.to(gamma.scalar_type()), grad.gamma.to(gamma.scalar_type())};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&add_layer_norm>(m, "npu_add_layer_norm");
  composed_kernel<&add_layer_norm_backward>(m, "npu_add_layer_norm_backward");
  derivative(m, "npu_add_layer_norm",
             "x1, x2, gamma, beta: npu_add_layer_norm_backward(grad, x1, x2, result2, result1, "
             "gamma, grad3)");
  composed_kernel<&deep_norm>(m, "npu_deep_norm");
  composed_kernel<&deep_norm_backward>(m, "npu_deep_norm_backward");
  derivative(m, "npu_deep_norm",
             "x, gx, beta, gamma: npu_deep_norm_backward(grad2, x, gx, gamma, result0, result1, "
             "alpha)");
}

}  // namespace
}  // namespace npu_sim::ops
