// Kernels of the card compute 16-bit floats in fp32 and round once, at the end.
#pragma once

#include <ATen/core/Tensor.h>

namespace npu_sim::ops {

// `tensor` in the dtype its kernel computes in: fp32 for narrower floats, its own for the others.
[[nodiscard]] inline at::Tensor widened(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? tensor : tensor.to(at::kFloat);
}

}  // namespace npu_sim::ops
