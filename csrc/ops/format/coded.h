// Tensors of codes in the narrow formats, as torch_npu lays them out, and their values in fp32.
// Each also answers meta tensors with the shape alone.
#pragma once

#include <ATen/core/Tensor.h>

#include "compute/format/element.h"

namespace npu_sim::ops {

// Values that one element of the carrier holds: 2 of four bits in a byte (int8 too), 8 in 32 bits,
// else 1.
[[nodiscard]] std::int64_t codes_per_item(compute::Element element, at::ScalarType carrier);

// The axis along which codes are packed: the last one where its stride is 1, else the one whose
// stride is, as in a transposed view.
[[nodiscard]] std::int64_t packed_axis(const at::Tensor& codes);

// The codes nearest to `values` (any float dtype), saturating, in the carrier of `element`: same
// shape, the last axis shorter where codes are packed, the first of them in the low bits. The last
// axis must divide by the packing; raises ValueError, as by `op`, where it does not.
[[nodiscard]] at::Tensor encoded(const char* op, const at::Tensor& values, compute::Element element,
                                 compute::Rounding rounding);

// The same in another carrier: int4 fits uint8 by two as well as int32 by eight.
[[nodiscard]] at::Tensor encoded_in(const char* op, const at::Tensor& values,
                                    compute::Element element, compute::Rounding rounding,
                                    at::ScalarType carrier);

// The exact values of `codes` in fp32, the last axis longer where codes are packed. Axes may lie in
// any order, so a transposed view of packed codes is unpacked along the axis of stride 1.
[[nodiscard]] at::Tensor decoded(const at::Tensor& codes, compute::Element element);

// Powers of two in fp32 from E8M0 codes (uint8 or float8_e8m0fnu).
[[nodiscard]] at::Tensor decoded_e8m0(const at::Tensor& codes);

}  // namespace npu_sim::ops
