// How much memory a tensor takes in the card's fractal layout NZ.
//
// The last two axes [rows, columns] lie in fractals of 16 rows of C0 elements, 32 bytes each as a
// rule; both axes are padded to whole fractals.
// Source: aclnnNpuFormatCast; FormatCastKernelNpu.cpp of Ascend/pytorch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace npu_sim::ops {

inline constexpr std::int64_t kFormatNz = 29;        // ACL_FORMAT_FRACTAL_NZ
inline constexpr std::int64_t kFormatNzC0Of16 = 50;  // ACL_FORMAT_FRACTAL_NZ_C0_16

struct Fractal {
  std::int64_t format = kFormatNz;  // the tag that the result carries
  std::int64_t columns = 16;        // C0, in elements of the tensor's dtype
};

// Whether bytes lie as those of ND: NCHW, NHWC, ND, HWCN, NDHWC, NCDHW, NC and NCL.
[[nodiscard]] bool is_base_format(std::int64_t format);

// Raises NotImplementedError, as by `op`, for a layout that is neither one of these nor NZ.
void check_format(const char* op, std::int64_t format);

// The fractal of `input`, or of what `input_dtype` says its bytes are, for a product with
// `customize_dtype`: C0 is 32 bytes of that. Raises ValueError, as by `op`, for a dtype without
// one.
[[nodiscard]] Fractal fractal_of(const char* op, const at::Tensor& input,
                                 std::optional<std::int64_t> customize_dtype,
                                 std::optional<std::int64_t> input_dtype);

// Bytes of `tensor` (of two axes or more) in whole fractals.
[[nodiscard]] std::int64_t padded_bytes(const at::Tensor& tensor, const Fractal& fractal);

}  // namespace npu_sim::ops
