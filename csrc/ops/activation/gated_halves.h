// The two halves of a gated activation's input.
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

}  // namespace npu_sim::ops
