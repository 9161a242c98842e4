// Values quantised with a scale a row, a block of an MX format, or a rectangle of elements: what
// the operators of this folder, and others that end with a quantisation, have in common.
// All take floating values, compute in fp32, and answer meta tensors with shapes alone.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "compute/format/element.h"

namespace npu_sim::ops {

struct Quantized {
  at::Tensor codes;  // in the carrier of the element, packed along the last axis where it is narrow
  at::Tensor scale;  // what the decoded codes are multiplied by
};

// What to quantise to. `largest` is the magnitude that the largest value is mapped to; 0 means the
// largest finite value of the element.
struct Target {
  compute::Element element = compute::Element::kInt8;
  double largest = 0;
  compute::Rounding rounding = compute::Rounding::kRint;
  at::ScalarType carrier = at::ScalarType::Undefined;  // of the codes; Undefined: the usual one
};

// How casts of the card round: ties to even; away from zero for HiFloat8, whose cast knows no
// other. Source: AscendC's table of casts (CAST_ROUND and CAST_HYBRID for hifloat8).
[[nodiscard]] inline compute::Rounding cast_rounding(compute::Element element) {
  return element == compute::Element::kHifloat8 ? compute::Rounding::kRound
                                                : compute::Rounding::kRint;
}

[[nodiscard]] double largest_of(const Target& target);

// The rounding that `mode` names. Raises ValueError, as by `op`, unless the card's cast to
// `element` knows it: rint, but round or hybrid for HiFloat8 (taken as round).
[[nodiscard]] compute::Rounding static_rounding(const char* op, compute::Element element,
                                                c10::string_view mode);

// Codes of `values` (fp32) as they are, in the carrier of the target.
[[nodiscard]] at::Tensor coded_to(const char* op, const at::Tensor& values, const Target& target);

// One scale a row of the last axis: scale = max |values| / largest in fp32, of the leading axes;
// codes = values / scale. Rows of zeros have scale 0 and codes of zero.
[[nodiscard]] Quantized quantize_rows(const char* op, const at::Tensor& values,
                                      const Target& target);

// values / scale, 0 where scale is 0. `scale` broadcasts against `values`.
[[nodiscard]] at::Tensor codes_of(const char* op, const at::Tensor& values, const at::Tensor& scale,
                                  const Target& target);

}  // namespace npu_sim::ops
