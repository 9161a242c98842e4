// SwiGLU: silu(a) * b over the halves a, b of one axis; its gradient; and the clipped form.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/where.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/activation/gated_halves.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: exp, add, divide and two multiplies an output element; the gradient also forms
// sigmoid' = s (1 - s) and both products; the clipped form adds three clamps and two additions.
constexpr aten::Entry kEntries[] = {
    {"npu_swiglu", aten::elements<3, 2>},
    {"npu_swiglu_backward", aten::elements<8, 2>},
    {"npu_clipped_swiglu", aten::elements<8, 2>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
at::Tensor swiglu(const at::Tensor& input, std::int64_t dim) {
  const GatedHalves halves = gated_halves("npu_swiglu", input, dim, /*gate_first=*/true);
  return silu_product(halves).to(input.scalar_type());
}

at::Tensor swiglu_backward(const at::Tensor& grad_output, const at::Tensor& input,
                           std::int64_t dim) {
  const GatedHalves halves = gated_halves("npu_swiglu_backward", input, dim, /*gate_first=*/true);
  TORCH_CHECK_VALUE(grad_output.sizes() == halves.gate.sizes(),
                    "npu_swiglu_backward: expected grad_output of ", halves.gate.sizes(),
                    ", the halves of input, got ", grad_output.sizes());
  const GatedHalves grads = silu_product_grads(halves, widened(grad_output));
  return at::cat({grads.gate, grads.value}, dim).to(input.scalar_type());
}

// Rows (all axes before `dim` as one) past the sum of group_index belong to no expert; they come
// out as zeros.
at::Tensor clipped_swiglu(const at::Tensor& x, const std::optional<at::Tensor>& group_index,
                          std::int64_t dim, double alpha, double limit, double bias,
                          bool interleaved) {
  constexpr const char* kOp = "npu_clipped_swiglu";
  const GatedHalves halves = interleaved ? interleaved_halves(kOp, x, dim)
                                         : gated_halves(kOp, x, dim, /*gate_first=*/true);
  at::Tensor y = clipped_product(halves, {.limit = limit, .alpha = alpha, .bias = bias});
  if (given(group_index)) {
    const std::int64_t axis = dim < 0 ? dim + x.dim() : dim;
    std::vector<std::int64_t> rows(x.sizes().begin(), x.sizes().begin() + axis);
    std::vector<std::int64_t> shape = rows;
    shape.resize(static_cast<std::size_t>(x.dim()), 1);
    const at::Tensor row = at::arange(c10::multiply_integers(rows), group_index->options());
    y = at::where((row < group_index->sum()).view(shape), y, 0);
  }
  return y.to(x.scalar_type());
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&swiglu>(m, "npu_swiglu");
  composed_kernel<&swiglu_backward>(m, "npu_swiglu_backward");
  derivative(m, "npu_swiglu", "input: npu_swiglu_backward(grad, input, dim)");
  composed_kernel<&clipped_swiglu>(m, "npu_clipped_swiglu");
}

}  // namespace
}  // namespace npu_sim::ops
