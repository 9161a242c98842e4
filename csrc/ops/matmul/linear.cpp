// npu_linear, its gradient, and the gradient of matmul's gradient.
#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

#include <array>
#include <functional>

#include "aten/describe/registry.h"
#include "aten/describe/work_of.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work
// input [m, k], weight [n, k].
model::Work describe_linear(const aten::Call& call) {
  const at::Tensor& input = aten::tensor_at(call, 0);
  return model::MatmulWork{.m = input.size(0),
                           .n = aten::tensor_at(call, 1).size(0),
                           .k = input.size(1),
                           .a = aten::format_of(input),
                           .b = aten::format_of(aten::tensor_at(call, 1)),
                           .out = aten::format_of(call.result()),
                           .b_transposed = true,
                           .adds_input = aten::tensor_at(call, 2).defined()};
}

model::Work describe_input_gradient(const aten::Call& call) {
  return aten::work_of::matmul(call.argument(0), call.argument(2), call.result());
}
model::Work describe_weight_gradient(const aten::Call& call) {
  const at::Tensor& grad = call.argument(0);
  const at::Tensor& input = call.argument(1);
  return model::MatmulWork{.m = grad.size(1),
                           .n = input.size(1),
                           .k = grad.size(0),
                           .a = aten::format_of(grad),
                           .b = aten::format_of(input),
                           .out = aten::format_of(call.result(1)),
                           .a_transposed = true};
}

// matmul_double_backward(grad_self, grad_other, grad_out, input, other, mask): two products for the
// gradient of grad_out, one each for those of input and other.
enum Place : std::size_t { kGradSelf, kGradOther, kGradOut, kInput, kOther, kMask };

bool given_at(const aten::Call& call, std::size_t index) {
  return aten::tensor_at(call, index).defined();
}

model::Work product_at(const aten::Call& call, std::size_t a, std::size_t b, std::size_t out) {
  const c10::IValue& result = call.results[out];
  if (!given_at(call, a) || !given_at(call, b)) return model::NoWork{};
  if (!result.isTensor() || !result.toTensor().defined()) return model::NoWork{};
  return aten::work_of::matmul(call.argument(a), call.argument(b), result.toTensor());
}

model::Work describe_first_half(const aten::Call& call) {
  return product_at(call, kGradSelf, kOther, 0);
}
model::Work describe_second_half(const aten::Call& call) {
  return product_at(call, kInput, kGradOther, 0);
}
model::Work describe_self_gradient(const aten::Call& call) {
  return product_at(call, kGradOut, kGradOther, 1);
}
model::Work describe_other_gradient(const aten::Call& call) {
  return product_at(call, kGradSelf, kGradOut, 2);
}

constexpr aten::Describer kWeightGradient[] = {describe_weight_gradient};
constexpr aten::Describer kOtherGradients[] = {describe_second_half, describe_self_gradient,
                                               describe_other_gradient};
constexpr aten::Entry kEntries[] = {
    {"npu_linear", describe_linear},
    {"npu_linear_backward", describe_input_gradient, kWeightGradient},
    {"matmul_double_backward", describe_first_half, kOtherGradients},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const MaybeTensor& bias) {
  constexpr const char* kOp = "npu_linear";
  TORCH_CHECK_TYPE(input.is_floating_point() && input.scalar_type() == weight.scalar_type(), kOp,
                   ": expected input and weight of one floating dtype, got ", input.scalar_type(),
                   " and ", weight.scalar_type());
  TORCH_CHECK_VALUE(input.dim() == 2 && weight.dim() == 2 && input.size(1) == weight.size(1), kOp,
                    ": expected input of [m, k] and weight of [n, k], got ", input.sizes(), " and ",
                    weight.sizes());
  const std::int64_t n = weight.size(0);
  const bool fits = !given(bias) || bias->sizes() == at::IntArrayRef{n} ||
                    bias->sizes() == at::IntArrayRef({1, n});
  TORCH_CHECK_VALUE(fits, kOp, ": expected bias of [", n, "], got ", bias->sizes());
  const at::Tensor product = at::mm(widened(input), widened(weight).t());
  return (given(bias) ? product + widened(*bias) : product).to(input.scalar_type());
}

std::tuple<at::Tensor, at::Tensor> linear_backward(const at::Tensor& grad, const at::Tensor& input,
                                                   const at::Tensor& weight) {
  constexpr const char* kOp = "npu_linear_backward";
  const bool matrices = grad.dim() == 2 && input.dim() == 2 && weight.dim() == 2;
  TORCH_CHECK_VALUE(matrices && grad.size(0) == input.size(0) && grad.size(1) == weight.size(0) &&
                        input.size(1) == weight.size(1),
                    kOp, ": expected grad of [m, n], input of [m, k] and weight of [n, k], got ",
                    grad.sizes(), ", ", input.sizes(), " and ", weight.sizes());
  const at::Tensor wide = widened(grad);
  return {at::mm(wide, widened(weight)).to(grad.scalar_type()),
          at::mm(wide.t(), widened(input)).to(grad.scalar_type())};
}

// What matmul makes of operands of any rank, and its gradients.
at::Tensor as_matrix(const at::Tensor& tensor, bool as_row) {
  if (tensor.dim() > 1) return tensor;
  return as_row ? tensor.unsqueeze(0) : tensor.unsqueeze(1);
}

// The gradient of matmul's result as that of a matrix.
at::Tensor as_product(const at::Tensor& grad, const at::Tensor& self, const at::Tensor& other) {
  at::Tensor matrix = other.dim() == 1 ? grad.unsqueeze(-1) : grad;
  return self.dim() == 1 ? matrix.unsqueeze(-2) : matrix;
}

at::Tensor self_gradient(const at::Tensor& self, const at::Tensor& other, const at::Tensor& grad) {
  const at::Tensor b = as_matrix(other, false);
  return at::matmul(as_product(grad, self, other), b.transpose(-1, -2)).sum_to_size(self.sizes());
}

at::Tensor other_gradient(const at::Tensor& self, const at::Tensor& other, const at::Tensor& grad) {
  const at::Tensor a = as_matrix(self, true);
  const at::Tensor whole = at::matmul(a.transpose(-1, -2), as_product(grad, self, other));
  if (other.dim() > 1) return whole.sum_to_size(other.sizes());
  return whole.squeeze(-1).sum_to_size(other.sizes());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> matmul_double_backward(
    const MaybeTensor& grad_self, const MaybeTensor& grad_other, const at::Tensor& grad_out,
    const at::Tensor& input, const at::Tensor& other, std::array<bool, 3> mask) {
  constexpr const char* kOp = "matmul_double_backward";
  const auto check = [&](const char* argument, const MaybeTensor& grad, const at::Tensor& like) {
    TORCH_CHECK_VALUE(!given(grad) || grad->sizes() == like.sizes(), kOp, ": expected ", argument,
                      " of ", like.sizes(), ", got ", given(grad) ? grad->sizes() : like.sizes());
  };
  check("grad_self", grad_self, input);
  check("grad_other", grad_other, other);
  const at::ScalarType dtype = grad_out.scalar_type();
  const at::Tensor a = widened(input);
  const at::Tensor b = widened(other);
  const at::Tensor grad = widened(grad_out);
  at::Tensor of_grad;
  at::Tensor of_self;
  at::Tensor of_other;
  if (mask[0] && (given(grad_self) || given(grad_other))) {
    of_grad = at::zeros_like(grad);
    if (given(grad_self)) of_grad = of_grad + at::matmul(widened(*grad_self), b);
    if (given(grad_other)) of_grad = of_grad + at::matmul(a, widened(*grad_other));
    of_grad = of_grad.to(dtype);
  }
  if (mask[1] && given(grad_other)) {
    of_self = self_gradient(a, widened(*grad_other), grad).to(dtype);
  }
  if (mask[2] && given(grad_self)) {
    of_other = other_gradient(widened(*grad_self), b, grad).to(dtype);
  }
  return {of_grad, of_self, of_other};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&linear>(m, "npu_linear");
  composed_kernel<&linear_backward>(m, "npu_linear_backward");
  composed_kernel<&matmul_double_backward>(m, "matmul_double_backward");
  derivative(m, "npu_linear",
             "input, weight: npu_linear_backward(grad, input, weight); bias: grad");
}

}  // namespace
}  // namespace npu_sim::ops
