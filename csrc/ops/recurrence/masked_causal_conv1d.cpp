// npu_masked_causal_conv1d: each channel by its own taps along the sequence, zeros before the
// start, and zeros wherever the mask says that there is no token.
#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kTaps = 3;  // the only width the card's kernel has

// --- work: a multiply-add a tap and the mask; backward the same for the input and for the weight.
constexpr aten::Entry kEntries[] = {
    {"npu_masked_causal_conv1d", aten::elements<kTaps + 1>},
    {"npu_masked_causal_conv1d_backward", aten::elements<2 * kTaps + 1>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check(const char* op, const at::Tensor& input, const at::Tensor& weight,
           const std::optional<at::Tensor>& mask) {
  TORCH_CHECK_TYPE(input.is_floating_point() && input.scalar_type() == weight.scalar_type(), op,
                   ": expected input and weight of one floating dtype, got ", input.scalar_type(),
                   " and ", weight.scalar_type());
  TORCH_CHECK_VALUE(input.dim() == 3, op, ": expected input [S, B, H], got ", input.sizes());
  TORCH_CHECK_VALUE(weight.dim() == 2 && weight.size(0) == kTaps && weight.size(1) == input.size(2),
                    op, ": expected weight [", kTaps, ", ", input.size(2), "], got ",
                    weight.sizes());
  if (!mask || !mask->defined()) return;
  TORCH_CHECK_TYPE(mask->scalar_type() == at::kBool, op, ": expected mask of bool, got ",
                   mask->scalar_type());
  TORCH_CHECK_VALUE(
      mask->dim() == 2 && mask->size(0) == input.size(1) && mask->size(1) == input.size(0), op,
      ": expected mask [B, S] for input ", input.sizes(), ", got ", mask->sizes());
}

// --- compute
// Zeros where the mask [batch, sequence] is false; `x` is [sequence, batch, channels].
at::Tensor masked(const at::Tensor& x, const std::optional<at::Tensor>& mask) {
  if (!mask || !mask->defined()) return x;
  return x.masked_fill(mask->t().logical_not().unsqueeze(2), 0);
}

// How far back tap `tap` looks; no further than the sequence is long.
std::int64_t lag(std::int64_t tap, const at::Tensor& x) {
  return std::min(kTaps - 1 - tap, x.size(0));
}

at::Tensor conv1d(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& mask) {
  check("npu_masked_causal_conv1d", input, weight, mask);
  const at::Tensor x = widened(input);
  const at::Tensor taps = widened(weight);
  const std::int64_t length = x.size(0);
  at::Tensor y = at::zeros(x.sizes(), x.options());
  for (std::int64_t tap = 0; tap < kTaps; ++tap) {
    const std::int64_t back = lag(tap, x);
    y.slice(0, back, length).add_(x.slice(0, 0, length - back) * taps.select(0, tap));
  }
  return masked(y, mask).to(input.scalar_type());
}

std::tuple<at::Tensor, at::Tensor> conv1d_backward(const at::Tensor& grad_output,
                                                   const at::Tensor& input,
                                                   const at::Tensor& weight,
                                                   const std::optional<at::Tensor>& mask) {
  constexpr const char* kOp = "npu_masked_causal_conv1d_backward";
  check(kOp, input, weight, mask);
  TORCH_CHECK_VALUE(grad_output.sizes() == input.sizes(), kOp, ": expected grad_output of ",
                    input.sizes(), ", the shape of input, got ", grad_output.sizes());
  const at::Tensor x = widened(input);
  const at::Tensor taps = widened(weight);
  const at::Tensor grad = masked(widened(grad_output), mask);
  const std::int64_t length = x.size(0);
  at::Tensor grad_input = at::zeros(x.sizes(), x.options());
  std::vector<at::Tensor> grad_taps;
  for (std::int64_t tap = 0; tap < kTaps; ++tap) {
    const std::int64_t back = lag(tap, x);
    const at::Tensor later = grad.slice(0, back, length);
    const at::Tensor earlier = x.slice(0, 0, length - back);
    grad_input.slice(0, 0, length - back).add_(later * taps.select(0, tap));
    grad_taps.push_back((later * earlier).sum({0, 1}));
  }
  const auto dtype = grad_output.scalar_type();
  return {grad_input.to(dtype), at::stack(grad_taps).to(dtype)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&conv1d>(m, "npu_masked_causal_conv1d");
  composed_kernel<&conv1d_backward>(m, "npu_masked_causal_conv1d_backward");
  derivative(m, "npu_masked_causal_conv1d",
             "input, weight: npu_masked_causal_conv1d_backward(grad, input, weight, mask=mask)");
}

}  // namespace
}  // namespace npu_sim::ops
