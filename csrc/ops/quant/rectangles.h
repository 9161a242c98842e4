// Rectangles of elements of the last two axes that share a scale.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace npu_sim::ops {

struct Rectangle {
  std::int64_t rows;
  std::int64_t columns;
};

// The largest magnitude in each rectangle of `values` [..., rows, columns]: [..., rectangles down,
// rectangles across]; those at the edges may be cut off.
[[nodiscard]] at::Tensor largest_magnitudes(const at::Tensor& values, const Rectangle& rectangle);

// The number of each element's rectangle, in the shape of `values`.
[[nodiscard]] at::Tensor spread(const at::Tensor& of_rectangles, const at::Tensor& values,
                                const Rectangle& rectangle);

// min(max / largest, 1 / min_scale), where max is finite. Source: the kernels of ops-nn for an
// Ascend 950 (arch35); op-plugin's documentation has the first term upside down.
[[nodiscard]] at::Tensor bounded_scales(const at::Tensor& magnitudes, double largest,
                                        double min_scale);

}  // namespace npu_sim::ops
