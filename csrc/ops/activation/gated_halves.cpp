#include "ops/activation/gated_halves.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <c10/util/Exception.h>

#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

void check_halves(const char* op, const at::Tensor& input, std::int64_t dim) {
  TORCH_CHECK_TYPE(input.is_floating_point(), op, ": expected a floating dtype, got ",
                   input.scalar_type());
  TORCH_CHECK_INDEX(dim >= -input.dim() && dim < input.dim(), op, ": expected dim in [",
                    -input.dim(), ", ", input.dim() - 1, "], got ", dim);
  TORCH_CHECK_VALUE(input.size(dim) % 2 == 0, op, ": expected an even size along dim ", dim,
                    ", got input of ", input.sizes(), "; it holds gate and value side by side");
}

}  // namespace

GatedHalves gated_halves(const char* op, const at::Tensor& input, std::int64_t dim,
                         bool gate_first) {
  check_halves(op, input, dim);
  const auto parts = widened(input).tensor_split(2, dim);
  return gate_first ? GatedHalves{parts[0], parts[1]} : GatedHalves{parts[1], parts[0]};
}

GatedHalves interleaved_halves(const char* op, const at::Tensor& input, std::int64_t dim) {
  check_halves(op, input, dim);
  const at::Tensor wide = widened(input);
  return {.gate = wide.slice(dim, 0, std::nullopt, 2),
          .value = wide.slice(dim, 1, std::nullopt, 2)};
}

at::Tensor silu_product(const GatedHalves& halves) {
  return at::silu(halves.gate).mul_(halves.value);
}

GatedHalves silu_product_grads(const GatedHalves& halves, const at::Tensor& grad) {
  return {.gate = at::silu_backward(grad * halves.value, halves.gate),
          .value = grad * at::silu(halves.gate)};
}

GatedHalves clipped(const GatedHalves& halves, double limit) {
  return {.gate = halves.gate.clamp(std::nullopt, limit),
          .value = halves.value.clamp(-limit, limit)};
}

at::Tensor clipped_product(const GatedHalves& halves, const ClippedProduct& clip) {
  const GatedHalves cut = clipped(halves, clip.limit);
  return cut.gate * at::sigmoid(cut.gate * clip.alpha) * (cut.value + clip.bias);
}

}  // namespace npu_sim::ops
