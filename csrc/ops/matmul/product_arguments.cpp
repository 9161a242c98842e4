#include "ops/matmul/product_arguments.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace npu_sim::ops {
namespace {

// torch_npu's numbers above 255 are 256 + aclDataType. Source: acl_base.h of CANN.
constexpr std::int64_t kAcl = 256;

at::ScalarType scalar_type_of(std::int64_t dtype) {
  switch (dtype) {
    case kAcl + 0: return at::kFloat;
    case kAcl + 1: return at::kHalf;
    case kAcl + 2: return at::kChar;
    case kAcl + 3: return at::kInt;
    case kAcl + 27: return at::kBFloat16;
    default: return static_cast<at::ScalarType>(dtype);
  }
}

bool broadcasts(at::IntArrayRef a, at::IntArrayRef b) {
  for (std::size_t back = 3; back <= std::min(a.size(), b.size()); ++back) {
    const std::int64_t of_a = a[a.size() - back];
    const std::int64_t of_b = b[b.size() - back];
    if (of_a != of_b && of_a != 1 && of_b != 1) return false;
  }
  return true;
}

}  // namespace

Coded packed_operand(const at::Tensor& tensor, MaybeInteger dtype) {
  const bool carries_fp4 = tensor.scalar_type() == at::kFloat && !dtype.has_value();
  return {.codes = tensor,
          .element = carries_fp4 ? compute::Element::kE2m1 : element_of(tensor, dtype)};
}

at::ScalarType result_dtype(ArgumentName name, MaybeInteger dtype, at::ScalarType otherwise,
                            std::initializer_list<at::ScalarType> allowed) {
  const at::ScalarType asked = dtype.has_value() ? scalar_type_of(*dtype) : otherwise;
  if (std::ranges::find(allowed, asked) != allowed.end()) return asked;
  std::string names;
  for (const at::ScalarType each : allowed) {
    names += (names.empty() ? "" : ", ") + std::string(c10::toString(each));
  }
  const std::string got =
      dtype.has_value() ? std::to_string(*dtype) : "None, " + std::string(c10::toString(otherwise));
  TORCH_CHECK_VALUE(false, name.op, ": expected ", name.argument, " of one of ", names, ", got ",
                    got);
}

bool is_e8m0_scale(const at::Tensor& scale, MaybeInteger dtype) {
  return is_e8m0(dtype) || (scale.defined() && scale.scalar_type() == at::kFloat8_e8m0fnu);
}

void check_product(const char* op, const Coded& a, const Coded& b) {
  const bool matrices =
      a.codes.dim() >= 2 && b.codes.dim() >= 2 && a.codes.dim() <= 6 && b.codes.dim() <= 6;
  TORCH_CHECK_VALUE(matrices, op, ": expected x1 and x2 of 2 to 6 axes, got ", a.codes.sizes(),
                    " and ", b.codes.sizes());
  TORCH_CHECK_VALUE(numbers_along(a, -1) == numbers_along(b, -2), op,
                    ": expected x1 of [.., m, k] and x2 of [.., k, n], got k of ",
                    numbers_along(a, -1), " and ", numbers_along(b, -2), " from ", a.codes.sizes(),
                    " and ", b.codes.sizes());
  TORCH_CHECK_VALUE(broadcasts(a.codes.sizes(), b.codes.sizes()), op,
                    ": expected batches of x1 and x2 that broadcast, got ", a.codes.sizes(),
                    " and ", b.codes.sizes());
}

void check_bias(const char* op, const at::Tensor& bias, const Coded& a, const Coded& b) {
  const std::int64_t n = numbers_along(b, -1);
  const std::int64_t axes = std::max(a.codes.dim(), b.codes.dim());
  const std::int64_t batch = axes == 3 ? std::max(a.codes.dim() == 3 ? a.codes.size(0) : 1,
                                                  b.codes.dim() == 3 ? b.codes.size(0) : 1)
                                       : 1;
  const bool fits = bias.sizes() == at::IntArrayRef{n} ||
                    (axes == 2 && bias.sizes() == at::IntArrayRef({1, n})) ||
                    (axes == 3 && bias.sizes() == at::IntArrayRef({batch, 1, n}));
  TORCH_CHECK_VALUE(fits, op, ": expected bias of [", n, "]",
                    axes == 2 ? " or [1, n]" : (axes == 3 ? " or [batch, 1, n]" : ""), ", got ",
                    bias.sizes());
}

}  // namespace npu_sim::ops
