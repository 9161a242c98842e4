// Rotation of a rope part whose pairs lie side by side: pairs are gathered into halves, then
// turned.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

namespace npu_sim::ops {

// (x1, x2) -> (-x2, x1).
[[nodiscard]] inline at::Tensor turned_halves(const at::Tensor& x) {
  const auto halves = x.chunk(2, -1);
  return at::cat({-halves[1], halves[0]}, -1);
}

// x [..., width] of an even width, cos and sin of its shape or broadcast to it; the result holds
// halves.
[[nodiscard]] inline at::Tensor rotated_pairs(const at::Tensor& x, const at::Tensor& cos,
                                              const at::Tensor& sin) {
  const at::Tensor halves = x.unflatten(-1, {x.size(-1) / 2, 2}).transpose(-1, -2).flatten(-2);
  return halves * cos + turned_halves(halves) * sin;
}

}  // namespace npu_sim::ops
