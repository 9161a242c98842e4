// How contiguous a tensor, or a pair of tensors walked together, lies in memory.
#pragma once

#include <ATen/core/Tensor.h>

#include "base/units.h"

namespace npu_sim::aten {

// Bytes of the shortest contiguous piece of a strided tensor, in its own memory order; all its
// bytes when it is dense in any order of axes.
[[nodiscard]] base::Bytes contiguous_run(const at::Tensor& tensor);

// Bytes of the pieces in which a copy from src to dst moves. Tensors of the same order of axes move
// in the shorter of their runs. A transposition goes through on-chip tiles, so its pieces are also
// bounded by a tile's edge.
[[nodiscard]] base::Bytes copy_run(const at::Tensor& dst, const at::Tensor& src);

// Bytes of an element where a copy from src to dst turns rows into columns; 0 where it does not.
[[nodiscard]] base::Bytes transposed_element(const at::Tensor& dst, const at::Tensor& src);

}  // namespace npu_sim::aten
