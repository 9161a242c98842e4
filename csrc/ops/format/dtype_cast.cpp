// npu_dtype_cast: a tensor in another dtype, those of torch_npu's own formats among them; and the
// gradient, which is the cast back.
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <array>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "compute/format/hifloat8.h"
#include "ops/autograd/derivative.h"
#include "ops/format/coded.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

// --- work: one convert an element.
constexpr aten::Entry kEntries[] = {
    {"npu_dtype_cast", aten::elements<1>},
    {"npu_dtype_cast_backward", aten::elements<1>},
    {"_npu_dtype_cast", aten::elements<1>},
    {"_npu_dtype_cast_backward", aten::elements<1>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct WideCode {
  std::int64_t acl;
  at::ScalarType dtype;
};
constexpr std::int64_t kAcl = 256;  // torch_npu's dtypes are this much above aclDataType
constexpr std::array kWideCodes{
    WideCode{kAcl + 0, at::kFloat},          WideCode{kAcl + 1, at::kHalf},
    WideCode{kAcl + 2, at::kChar},           WideCode{kAcl + 3, at::kInt},
    WideCode{kAcl + 4, at::kByte},           WideCode{kAcl + 6, at::kShort},
    WideCode{kAcl + 9, at::kLong},           WideCode{kAcl + 11, at::kDouble},
    WideCode{kAcl + 12, at::kBool},          WideCode{kAcl + 16, at::kComplexFloat},
    WideCode{kAcl + 17, at::kComplexDouble}, WideCode{kAcl + 27, at::kBFloat16},
    WideCode{kAcl + 35, at::kFloat8_e5m2},   WideCode{kAcl + 36, at::kFloat8_e4m3fn},
};

// The dtype of torch that a dtype argument names; nullopt for formats that torch lacks.
std::optional<at::ScalarType> torch_dtype(std::int64_t dtype) {
  constexpr std::array kPlain{
      at::kByte,          at::kChar,     at::kShort,       at::kInt,          at::kLong,
      at::kHalf,          at::kFloat,    at::kDouble,      at::kBool,         at::kComplexFloat,
      at::kComplexDouble, at::kBFloat16, at::kFloat8_e5m2, at::kFloat8_e4m3fn};
  const auto* const found = std::ranges::find(kWideCodes, dtype, &WideCode::acl);
  if (found != kWideCodes.end()) return found->dtype;
  const auto plain = static_cast<at::ScalarType>(dtype);
  return std::ranges::find(kPlain, plain) == kPlain.end() ? std::nullopt : std::optional(plain);
}

// The format of a dtype that torch has no casts to, whose codes uint8 carries.
std::optional<Element> own_format(std::int64_t dtype) {
  constexpr std::int64_t kInt4 = kAcl + 29;
  if (dtype == kInt4) return Element::kInt4;
  const auto element = element_of(dtype);
  const bool own =
      element == Element::kHifloat8 || element == Element::kE2m1 || element == Element::kE1m2;
  return own ? element : std::nullopt;
}

// --- compute
// Infinity where the format has nothing nearer: casts do not saturate (the card knows INF_NAN mode
// alone).
at::Tensor hifloat8_codes(const char* op, const at::Tensor& values) {
  constexpr double kInfiniteFrom = 1.25 * compute::kHifloat8Largest;  // half way to 1.5 * 2^15
  constexpr int kInfinity = 0x6F;
  constexpr int kNegativeInfinity = 0xEF;
  const at::Tensor codes = encoded(op, values, Element::kHifloat8, compute::Rounding::kRound);
  return codes.masked_fill_(values >= kInfiniteFrom, kInfinity)
      .masked_fill_(values <= -kInfiniteFrom, kNegativeInfinity);
}

at::Tensor coded(const char* op, const at::Tensor& values, Element element) {
  const at::Tensor wide = values.to(at::kFloat);
  if (element == Element::kHifloat8) return hifloat8_codes(op, wide);
  return encoded_in(op, wide, element, compute::Rounding::kRint, at::kByte);
}

// The values of `input`, whose dtype `input_dtype` may say.
at::Tensor values_of(const char* op, const at::Tensor& input,
                     std::optional<std::int64_t> input_dtype) {
  if (!input_dtype.has_value()) return input;
  if (const auto element = own_format(*input_dtype)) {
    TORCH_CHECK_VALUE(*element != Element::kInt4, op,
                      ": expected input_dtype of a float, got int4 (285)");
    TORCH_CHECK_TYPE(input.scalar_type() == at::kByte, op, ": expected input of uint8 with ",
                     "input_dtype ", *input_dtype, ", got ", input.scalar_type());
    TORCH_CHECK_VALUE(input.dim() > 0 || compute::bits(*element) == 8, op,
                      ": expected input of one axis or more with fp4, got a scalar");
    return decoded(input, *element);
  }
  TORCH_CHECK_TYPE(torch_dtype(*input_dtype) == input.scalar_type(), op,
                   ": expected input_dtype of the input's own dtype ", input.scalar_type(),
                   ", or of one of torch_npu's, got ", *input_dtype);
  return input;
}

at::Tensor cast(const char* op, const at::Tensor& input, std::int64_t dtype,
                std::optional<std::int64_t> input_dtype) {
  const at::Tensor values = values_of(op, input, input_dtype);
  if (const auto own = own_format(dtype)) {
    TORCH_CHECK_TYPE(!values.is_complex(), op, ": expected real input with dtype ", dtype, ", got ",
                     values.scalar_type());
    TORCH_CHECK_VALUE(values.dim() > 0 || compute::bits(*own) == 8, op,
                      ": expected input of one axis or more for a dtype of 4 bits, got a scalar");
    return coded(op, values, *own);
  }
  const auto target = torch_dtype(dtype);
  TORCH_CHECK_VALUE(target.has_value(), op,
                    ": expected dtype of torch's, int4 (285), hifloat8 "
                    "(290), float4_e2m1fn_x2 (296) or float4_e1m2fn_x2 (297), got ",
                    dtype);
  return values.to(*target, /*non_blocking=*/false, /*copy=*/true);
}

at::Tensor npu_dtype_cast(const at::Tensor& input, std::int64_t dtype,
                          std::optional<std::int64_t> input_dtype) {
  return cast("npu_dtype_cast", input, dtype, input_dtype);
}

at::Tensor npu_dtype_cast_backward(const at::Tensor& grad, at::ScalarType dtype,
                                   std::optional<std::int64_t> grad_dtype,
                                   std::optional<std::int64_t> input_dtype) {
  return cast("npu_dtype_cast_backward", grad,
              input_dtype.value_or(static_cast<std::int64_t>(dtype)), grad_dtype);
}

at::Tensor plain_cast(const at::Tensor& input, at::ScalarType dtype) {
  return input.to(dtype, /*non_blocking=*/false, /*copy=*/true);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&npu_dtype_cast>(m, "npu_dtype_cast");
  composed_kernel<&npu_dtype_cast_backward>(m, "npu_dtype_cast_backward");
  composed_kernel<&plain_cast>(m, "_npu_dtype_cast");
  composed_kernel<&plain_cast>(m, "_npu_dtype_cast_backward");
  derivative(m, "npu_dtype_cast",
             "input: npu_dtype_cast_backward(grad, input.dtype, dtype, input_dtype)");
  derivative(m, "_npu_dtype_cast", "input: _npu_dtype_cast_backward(grad, input.dtype)");
}

}  // namespace
}  // namespace npu_sim::ops
