#include "ops/quant/rectangles.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/where.h>

#include <limits>
#include <vector>

namespace npu_sim::ops {
namespace {

std::int64_t missing(std::int64_t size, std::int64_t block) {
  return (block - size % block) % block;
}

}  // namespace

at::Tensor largest_magnitudes(const at::Tensor& values, const Rectangle& rectangle) {
  const at::Tensor padded = at::constant_pad_nd(
      values.abs(),
      {0, missing(values.size(-1), rectangle.columns), 0, missing(values.size(-2), rectangle.rows)},
      0);
  std::vector<std::int64_t> sizes(values.sizes().begin(), values.sizes().end() - 2);
  sizes.insert(sizes.end(), {padded.size(-2) / rectangle.rows, rectangle.rows,
                             padded.size(-1) / rectangle.columns, rectangle.columns});
  return padded.view(sizes).amax({-3, -1});
}

at::Tensor spread(const at::Tensor& of_rectangles, const at::Tensor& values,
                  const Rectangle& rectangle) {
  return of_rectangles.repeat_interleave(rectangle.rows, -2)
      .narrow(-2, 0, values.size(-2))
      .repeat_interleave(rectangle.columns, -1)
      .narrow(-1, 0, values.size(-1));
}

at::Tensor bounded_scales(const at::Tensor& magnitudes, double largest, double min_scale) {
  const at::Tensor scales = magnitudes / largest;
  if (min_scale == 0) return scales;
  const at::Tensor finite = scales < std::numeric_limits<double>::infinity();
  return at::where(finite, scales.clamp_max(1 / min_scale), scales);
}

}  // namespace npu_sim::ops
