#include "ops/layout/fractal.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>

#include "ops/format/element_of.h"

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kRows = 16;
constexpr std::int64_t kPieceBytes = 32;
constexpr std::int64_t kAcl = 256;  // torch_npu's dtypes are this much above aclDataType

// Bytes of an element of a dtype argument of torch's or torch_npu's.
std::int64_t element_bytes(const char* op, std::int64_t dtype) {
  if (element_of(dtype).has_value()) return 1;
  constexpr std::array<std::int64_t, 4> kTwo{5, 15, kAcl + 1, kAcl + 27};  // float16, bfloat16
  constexpr std::array<std::int64_t, 4> kFour{3, 6, kAcl + 0, kAcl + 3};   // int32, float32
  if (std::ranges::find(kTwo, dtype) != kTwo.end()) return 2;
  TORCH_CHECK_VALUE(std::ranges::find(kFour, dtype) != kFour.end(), op,
                    ": expected customize_dtype of a float or integer of 1, 2 or 4 bytes, got ",
                    dtype);
  return 4;
}

std::int64_t whole(std::int64_t size, std::int64_t unit) { return (size + unit - 1) / unit * unit; }

}  // namespace

bool is_base_format(std::int64_t format) {
  constexpr std::array<std::int64_t, 8> kBase{0, 1, 2, 16, 27, 30, 35, 47};
  return std::ranges::find(kBase, format) != kBase.end();
}

void check_format(const char* op, std::int64_t format) {
  TORCH_CHECK_NOT_IMPLEMENTED(is_base_format(format) || format == kFormatNz, op,
                              ": expected acl_format ND (2), FRACTAL_NZ (29) or another that keeps "
                              "the order of bytes, got ",
                              format, ", which is not built in torch_npu_sim yet");
}

Fractal fractal_of(const char* op, const at::Tensor& input,
                   std::optional<std::int64_t> customize_dtype,
                   std::optional<std::int64_t> input_dtype) {
  const auto own = static_cast<std::int64_t>(input.element_size());
  const std::int64_t target = customize_dtype ? element_bytes(op, *customize_dtype) : own;
  const auto element = input_dtype ? element_of(*input_dtype) : std::nullopt;
  const bool packed = element && compute::bits(*element) == 4;
  // Two elements of 4 bits are one of the tensor's.
  if (packed) return {.format = kFormatNzC0Of16, .columns = kPieceBytes / target / 2};
  return {.format = kFormatNz, .columns = std::max<std::int64_t>(kPieceBytes / target, 1)};
}

std::int64_t padded_bytes(const at::Tensor& tensor, const Fractal& fractal) {
  std::int64_t matrices = 1;
  for (std::int64_t axis = 0; axis < tensor.dim() - 2; ++axis) matrices *= tensor.size(axis);
  return matrices * whole(tensor.size(-2), kRows) * whole(tensor.size(-1), fractal.columns) *
         static_cast<std::int64_t>(tensor.element_size());
}

}  // namespace npu_sim::ops
