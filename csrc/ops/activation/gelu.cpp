// GELU by its two formulas, the card's fast GELU, and the gated forms of both.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/sigmoid.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/activation/gated_halves.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: as aten::gelu (a polynomial, or tanh); fast GELU is one sigmoid.
constexpr aten::Entry kEntries[] = {
    {"npu_gelu", aten::elements<12, 2>},     {"npu_gelu_backward", aten::elements<18, 3>},
    {"npu_fast_gelu", aten::elements<4, 2>}, {"fast_gelu", aten::elements<4, 2>},
    {"npu_gelu_mul", aten::elements<13, 2>}, {"npu_fast_gelu_backward", aten::elements<8, 2>},
    {"npu_geglu", aten::elements<13, 2>},    {"npu_geglu_grad", aten::elements<20, 3>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
at::Tensor npu_gelu(const at::Tensor& input, c10::string_view approximate) {
  return at::gelu(widened(input), approximate).to(input.scalar_type());
}

at::Tensor npu_gelu_backward(const at::Tensor& grad_output, const at::Tensor& input,
                             c10::string_view approximate) {
  return at::gelu_backward(widened(grad_output), widened(input), approximate)
      .to(input.scalar_type());
}

constexpr double kFastSlope = 1.702;  // sigmoid(1.702 x) stands for the normal distribution

at::Tensor fast_gelu(const at::Tensor& input) {
  const at::Tensor x = widened(input);
  return (x * at::sigmoid(x * kFastSlope)).to(input.scalar_type());
}

at::Tensor fast_gelu_backward(const at::Tensor& grad, const at::Tensor& input) {
  const at::Tensor x = widened(input);
  const at::Tensor s = at::sigmoid(x * kFastSlope);
  return (widened(grad) * (s + x * kFastSlope * s * (1 - s))).to(input.scalar_type());
}

at::Tensor gelu_mul(const at::Tensor& input, c10::string_view approximate) {
  const GatedHalves halves = gated_halves("npu_gelu_mul", input, -1, /*gate_first=*/true);
  return (at::gelu(halves.gate, approximate) * halves.value).to(input.scalar_type());
}

const char* formula_of(std::int64_t approximate) {
  TORCH_CHECK_VALUE(approximate == 0 || approximate == 1,
                    "npu_geglu: expected approximate 0 (erf) or 1 (tanh), got ", approximate);
  return approximate == 1 ? "tanh" : "none";
}

// The gated product, and gelu of the gate for the backward pass.
std::tuple<at::Tensor, at::Tensor> geglu(const at::Tensor& input, std::int64_t dim,
                                         std::int64_t approximate, bool activate_left) {
  const GatedHalves halves = gated_halves("npu_geglu", input, dim, activate_left);
  const at::Tensor gelu = at::gelu(halves.gate, formula_of(approximate));
  return {(gelu * halves.value).to(input.scalar_type()), gelu.to(input.scalar_type(), false, true)};
}

at::Tensor geglu_grad(const at::Tensor& grad_output, const at::Tensor& input,
                      const at::Tensor& gelu, std::int64_t dim, std::int64_t approximate,
                      bool activate_left) {
  const GatedHalves halves = gated_halves("npu_geglu_grad", input, dim, activate_left);
  const at::Tensor grad = widened(grad_output);
  const at::Tensor gate =
      at::gelu_backward(grad * halves.value, halves.gate, formula_of(approximate));
  const at::Tensor value = grad * widened(gelu);
  const at::Tensor& left = activate_left ? gate : value;
  const at::Tensor& right = activate_left ? value : gate;
  return at::cat({left, right}, dim).to(input.scalar_type());
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&npu_gelu>(m, "npu_gelu");
  composed_kernel<&npu_gelu_backward>(m, "npu_gelu_backward");
  derivative(m, "npu_gelu", "input: npu_gelu_backward(grad, input, approximate=approximate)");
  for (const char* const name : {"npu_fast_gelu", "fast_gelu"}) {
    composed_kernel<&fast_gelu>(m, name);
    derivative(m, name, "input: npu_fast_gelu_backward(grad, input)");
  }
  composed_kernel<&fast_gelu_backward>(m, "npu_fast_gelu_backward");
  composed_kernel<&gelu_mul>(m, "npu_gelu_mul");
  composed_kernel<&geglu>(m, "npu_geglu");
  composed_kernel<&geglu_grad>(m, "npu_geglu_grad");
  derivative(m, "npu_geglu",
             "input: npu_geglu_grad(grad, input, result1, dim, approximate, activate_left)");
}

}  // namespace
}  // namespace npu_sim::ops
