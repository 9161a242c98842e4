// The two halves of a gated activation's input, and what is made of them.
#pragma once

#include <ATen/core/Tensor.h>

namespace npu_sim::ops {

struct GatedHalves {
  at::Tensor gate;   // goes through the activation
  at::Tensor value;  // multiplies it
};

// Splits floating `input` along `dim` and widens both halves; `gate_first` says which one is gated.
// Throws IndexError, ValueError or TypeError, in the name of `op`, when there are no halves.
[[nodiscard]] GatedHalves gated_halves(const char* op, const at::Tensor& input, std::int64_t dim,
                                       bool gate_first);

// The same where gate and value stand in turn along `dim`, a gate first.
[[nodiscard]] GatedHalves interleaved_halves(const char* op, const at::Tensor& input,
                                             std::int64_t dim);

// silu(gate) * value.
[[nodiscard]] at::Tensor silu_product(const GatedHalves& halves);

// The gradients of silu(gate) * value for that of the product.
[[nodiscard]] GatedHalves silu_product_grads(const GatedHalves& halves, const at::Tensor& grad);

// Both halves with the larger ones cut off: min(gate, limit), and value within +-limit.
[[nodiscard]] GatedHalves clipped(const GatedHalves& halves, double limit);

// gate sigmoid(alpha gate) (value + bias) of the clipped halves.
struct ClippedProduct {
  double limit = 7.0;
  double alpha = 1.702;
  double bias = 1.0;
};
[[nodiscard]] at::Tensor clipped_product(const GatedHalves& halves, const ClippedProduct& clip);

}  // namespace npu_sim::ops
