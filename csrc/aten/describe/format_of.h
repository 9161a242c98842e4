// torch's dtype -> the number format the model knows. Formats it has no word for take the one of
// equal width, so that bytes stay right.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include "base/format.h"

namespace npu_sim::aten {

[[nodiscard]] inline base::Format format_of(c10::ScalarType dtype) {
  using base::Format;
  switch (dtype) {
    case c10::ScalarType::Double: return Format::kFp64;
    case c10::ScalarType::Float: return Format::kFp32;
    case c10::ScalarType::Half: return Format::kFp16;
    case c10::ScalarType::BFloat16: return Format::kBf16;
    case c10::ScalarType::Float8_e4m3fn:
    case c10::ScalarType::Float8_e4m3fnuz: return Format::kFp8E4m3;
    case c10::ScalarType::Float8_e5m2:
    case c10::ScalarType::Float8_e5m2fnuz: return Format::kFp8E5m2;
    case c10::ScalarType::Float4_e2m1fn_x2: return Format::kFp4;
    case c10::ScalarType::Long:
    case c10::ScalarType::UInt64: return Format::kInt64;
    case c10::ScalarType::Int:
    case c10::ScalarType::UInt32:
    case c10::ScalarType::QInt32: return Format::kInt32;
    case c10::ScalarType::Short:
    case c10::ScalarType::UInt16: return Format::kInt16;
    case c10::ScalarType::Char:
    case c10::ScalarType::QInt8: return Format::kInt8;
    case c10::ScalarType::Bool: return Format::kBool;
    case c10::ScalarType::ComplexHalf: return Format::kComplex32;
    case c10::ScalarType::ComplexFloat: return Format::kComplex64;
    case c10::ScalarType::ComplexDouble: return Format::kComplex128;
    default: return Format::kUint8;
  }
}

[[nodiscard]] inline base::Format format_of(const at::Tensor& tensor) {
  return tensor.defined() ? format_of(tensor.scalar_type()) : base::Format::kFp32;
}

}  // namespace npu_sim::aten
