// npu_swiglu and its gradient: silu(a) * b over the halves a, b of one axis.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: exp, add, divide and two multiplies an output element; the gradient also forms
// sigmoid' = s (1 - s) and both products.
constexpr aten::Entry kEntries[] = {
    {"npu_swiglu", aten::elements<3, 2>},
    {"npu_swiglu_backward", aten::elements<8, 2>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
struct Halves {
  at::Tensor gate;
  at::Tensor value;
};

Halves halves_of(const at::Tensor& input, std::int64_t dim) {
  TORCH_CHECK_INDEX(dim >= -input.dim() && dim < input.dim(), "npu_swiglu: expected dim in [",
                    -input.dim(), ", ", input.dim() - 1, "], got ", dim);
  TORCH_CHECK_VALUE(input.size(dim) % 2 == 0, "npu_swiglu: expected an even size along dim ", dim,
                    ", got input of ", input.sizes(), "; it holds gate and value side by side");
  TORCH_CHECK_TYPE(input.is_floating_point(), "npu_swiglu: expected a floating dtype, got ",
                   input.scalar_type());
  const auto parts = widened(input).chunk(2, dim);
  return {parts[0], parts[1]};
}

at::Tensor swiglu(const at::Tensor& input, std::int64_t dim) {
  const Halves halves = halves_of(input, dim);
  return at::silu(halves.gate).mul_(halves.value).to(input.scalar_type());
}

at::Tensor swiglu_backward(const at::Tensor& grad_output, const at::Tensor& input,
                           std::int64_t dim) {
  const Halves halves = halves_of(input, dim);
  TORCH_CHECK_VALUE(grad_output.sizes() == halves.gate.sizes(),
                    "npu_swiglu_backward: expected grad_output of ", halves.gate.sizes(),
                    ", the halves of input, got ", grad_output.sizes());
  const at::Tensor grad = widened(grad_output);
  const at::Tensor gate_grad = at::silu_backward(grad * halves.value, halves.gate);
  const at::Tensor value_grad = grad * at::silu(halves.gate);
  return at::cat({gate_grad, value_grad}, dim).to(input.scalar_type());
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&swiglu>(m, "npu_swiglu");
  composed_kernel<&swiglu_backward>(m, "npu_swiglu_backward");
  derivative(m, "npu_swiglu", "input: npu_swiglu_backward(grad, input, dim)");
}

}  // namespace
}  // namespace npu_sim::ops
