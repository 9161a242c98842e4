#include "ops/format/element_of.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>

namespace npu_sim::ops {
namespace {

using compute::Element;

struct Code {
  std::int64_t dtype;
  Element element;
};
constexpr std::int64_t kAcl = 256;  // torch_npu's dtypes are this much above aclDataType
constexpr std::array kCodes{
    Code{1, Element::kInt8},
    Code{12, Element::kInt8},
    Code{16, Element::kInt4},
    Code{23, Element::kE5m2},
    Code{24, Element::kE4m3},
    Code{45, Element::kE2m1},
    Code{kAcl + 2, Element::kInt8},
    Code{kAcl + 29, Element::kInt4},
    Code{kAcl + 34, Element::kHifloat8},
    Code{kAcl + 35, Element::kE5m2},
    Code{kAcl + 36, Element::kE4m3},
    Code{kAcl + 40, Element::kE2m1},
    Code{kAcl + 41, Element::kE1m2},
};
constexpr std::int64_t kE8m0 = static_cast<std::int64_t>(at::kFloat8_e8m0fnu);
constexpr std::int64_t kAclE8m0 = kAcl + 37;

}  // namespace

std::optional<Element> element_of(std::int64_t dtype) {
  const auto* const found = std::ranges::find(kCodes, dtype, &Code::dtype);
  return found == kCodes.end() ? std::nullopt : std::optional(found->element);
}

Element require_element(ArgumentName name, std::int64_t dtype) {
  const std::optional<Element> element = element_of(dtype);
  TORCH_CHECK_VALUE(element.has_value(), name.op, ": expected ", name.argument,
                    " of int8 (1), int4 (285), float8_e5m2 (23, 291), float8_e4m3fn (24, 292), "
                    "hifloat8 (290), float4_e2m1fn_x2 (45, 296) or float4_e1m2fn_x2 (297), got ",
                    dtype);
  return *element;
}

std::optional<Element> element_of(const at::Tensor& tensor, std::optional<std::int64_t> dtype) {
  if (dtype.has_value()) return element_of(*dtype);
  if (tensor.scalar_type() == at::kInt) return Element::kInt4;
  return element_of(static_cast<std::int64_t>(tensor.scalar_type()));
}

bool is_e8m0(std::optional<std::int64_t> dtype) { return dtype == kE8m0 || dtype == kAclE8m0; }

at::ScalarType carrier(Element element) {
  switch (element) {
    case Element::kInt8: return at::kChar;
    case Element::kInt4: return at::kInt;
    case Element::kE4m3: return at::kFloat8_e4m3fn;
    case Element::kE5m2: return at::kFloat8_e5m2;
    case Element::kHifloat8:
    case Element::kE2m1:
    case Element::kE1m2: return at::kByte;
  }
  return at::kByte;
}

base::Format format_of(Element element) {
  switch (element) {
    case Element::kInt8: return base::Format::kInt8;
    case Element::kInt4: return base::Format::kInt4;
    case Element::kE4m3: return base::Format::kFp8E4m3;
    case Element::kE5m2: return base::Format::kFp8E5m2;
    case Element::kHifloat8: return base::Format::kHif8;
    case Element::kE2m1:
    case Element::kE1m2: return base::Format::kFp4;
  }
  return base::Format::kUint8;
}

}  // namespace npu_sim::ops
