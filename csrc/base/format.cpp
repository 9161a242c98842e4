#include "base/format.h"

#include <array>

namespace npu_sim::base {
namespace {

struct FormatInfo {
  int bits;
  std::string_view name;
};

// In the order of the enum.
constexpr std::array kFormats = {
    FormatInfo{64, "fp64"},      FormatInfo{32, "fp32"},      FormatInfo{32, "hf32"},
    FormatInfo{16, "fp16"},      FormatInfo{16, "bf16"},      FormatInfo{8, "fp8_e4m3"},
    FormatInfo{8, "fp8_e5m2"},   FormatInfo{8, "hif8"},       FormatInfo{8, "mxfp8"},
    FormatInfo{4, "mxfp4"},      FormatInfo{4, "fp4"},        FormatInfo{64, "int64"},
    FormatInfo{32, "int32"},     FormatInfo{16, "int16"},     FormatInfo{8, "int8"},
    FormatInfo{8, "uint8"},      FormatInfo{4, "int4"},       FormatInfo{8, "bool"},
    FormatInfo{32, "complex32"}, FormatInfo{64, "complex64"}, FormatInfo{128, "complex128"},
};
static_assert(kFormats.size() == static_cast<std::size_t>(Format::kComplex128) + 1);

}  // namespace

int bits(Format format) { return kFormats[static_cast<std::size_t>(format)].bits; }

std::string_view name(Format format) { return kFormats[static_cast<std::size_t>(format)].name; }

}  // namespace npu_sim::base
