// The number formats a kernel can move or compute in, and how wide each is.
#pragma once

#include <cstdint>
#include <string_view>

namespace npu_sim::base {

enum class Format : std::uint8_t {
  kFp64,
  kFp32,
  kHf32,  // the cube's 19-bit form of fp32 (TF32 on NVIDIA); 32 bits in memory
  kFp16,
  kBf16,
  kFp8E4m3,
  kFp8E5m2,
  kHif8,
  kMxFp8,  // fp8 with one E8M0 scale for 32 elements; the scales are counted apart
  kMxFp4,  // fp4 E2M1 with one E8M0 scale for 32 elements; the scales are counted apart
  kFp4,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUint8,
  kInt4,
  kBool,
  kComplex32,
  kComplex64,
  kComplex128,
};

// Bits one element takes in memory, scales not included.
[[nodiscard]] int bits(Format format);

// Lower-case name as users write it: "bf16", "mxfp4".
[[nodiscard]] std::string_view name(Format format);

}  // namespace npu_sim::base
