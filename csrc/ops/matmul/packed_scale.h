// Scales as the cube's output pipe takes them: int64, of which bits 13 to 31 are the upper bits of
// an fp32, bits 37 to 45 a signed offset, and bit 46 is set.
// Source: aclnnTransQuantParamV3 in hicann/ops-nn.
#pragma once

#include <ATen/core/Tensor.h>

namespace npu_sim::ops {

// Whether `scale` holds packed scales: int64 or uint64.
[[nodiscard]] bool is_packed(const at::Tensor& scale);

// `scale` in fp32 packed; with `rounds` to the nearest (ties to even) of the 19 bits, else
// truncated. `offset` (undefined: none) is rounded and clamped to [-256, 255]; it or the scale may
// be of one number.
[[nodiscard]] at::Tensor packed_scale(const at::Tensor& scale, const at::Tensor& offset,
                                      bool rounds);

// The factors in fp32, and the offsets.
[[nodiscard]] at::Tensor factors_of(const at::Tensor& packed);
[[nodiscard]] at::Tensor offsets_of(const at::Tensor& packed);

}  // namespace npu_sim::ops
