// Optional tensor arguments: absent as None, or (from C++ callers) as an undefined tensor.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace npu_sim::ops {

using MaybeTensor = std::optional<at::Tensor>;

// Whether an optional argument was given.
[[nodiscard]] inline bool given(const MaybeTensor& tensor) {
  return tensor.has_value() && tensor->defined();
}

}  // namespace npu_sim::ops
