// npu_anti_quant, npu_anti_mx_quant: the values that codes stand for.
#include <ATen/TensorOperators.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/matmul/product_arguments.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

// --- work: codes become fp32, take offset and scale, and become 16 bits.
model::Work describe_codes(const aten::Call& call, std::int16_t linear_ops) {
  const aten::Traffic traffic = aten::traffic_of(call);
  return model::VectorWork{.elements = aten::elements_of(call.result()),
                           .read = traffic.read,
                           .written = traffic.written,
                           .linear_ops = linear_ops};
}
model::Work describe_anti_quant(const aten::Call& call) {
  return describe_codes(call, aten::tensor_at(call, 2).defined() ? 4 : 3);
}
model::Work describe_anti_mx_quant(const aten::Call& call) { return describe_codes(call, 3); }

constexpr aten::Entry kEntries[] = {
    {"npu_anti_quant", describe_anti_quant},
    {"npu_anti_mx_quant", describe_anti_mx_quant},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- npu_anti_quant
constexpr const char* kPlain = "npu_anti_quant";

// The format of x, which src_dtype may only confirm. Bytes are HiFloat8.
Element source_of(const at::Tensor& x, MaybeInteger src_dtype) {
  const std::optional<Element> own =
      x.scalar_type() == at::kByte ? Element::kHifloat8 : element_of(x, std::nullopt);
  TORCH_CHECK_TYPE(own.has_value() && *own != Element::kE2m1, kPlain,
                   ": expected x of int8, int32 (int4), uint8 (hifloat8), float8_e5m2 or "
                   "float8_e4m3fn, got ",
                   x.scalar_type());
  TORCH_CHECK_TYPE(!src_dtype.has_value() || element_of(*src_dtype) == own, kPlain,
                   ": expected src_dtype of x's format, got ", src_dtype.value_or(0), " for ",
                   x.scalar_type());
  return *own;
}

// A scale of one number, of the last axis or the one before it, as a shape that broadcasts.
at::Tensor placed(const char* argument, const at::Tensor& scale, const at::Tensor& values) {
  const at::Tensor wide = widened(scale);
  const std::int64_t last = values.dim() == 0 ? 1 : values.size(-1);
  if (scale.dim() == 1) {
    if (scale.size(0) == 1) return wide.reshape({});
    if (scale.size(0) == last) return wide;
    const bool rows = values.dim() > 1 && scale.size(0) == values.size(-2);
    TORCH_CHECK_VALUE(rows, kPlain, ": expected ", argument,
                      " of one number, or as many as x has along an axis of the last two, got ",
                      scale.sizes());
    return wide.unsqueeze(-1);
  }
  std::int64_t wide_axes = 0;
  bool fits = scale.dim() == values.dim() && scale.dim() > 0;
  for (std::int64_t axis = 0; fits && axis < scale.dim(); ++axis) {
    if (scale.size(axis) == 1) continue;
    ++wide_axes;
    fits = axis >= scale.dim() - 2 && scale.size(axis) == values.size(axis);
  }
  TORCH_CHECK_VALUE(fits && wide_axes <= 1, kPlain, ": expected ", argument,
                    " of one axis, or of x's with sizes of 1 but in one of the last two, got ",
                    scale.sizes());
  return wide;
}

void check_scale_dtypes(const at::Tensor& scale, const at::Tensor& offset, Element element) {
  const bool wide_only = !is_integer(element);
  const at::ScalarType dtype = scale.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kFloat || (dtype == at::kBFloat16 && !wide_only), kPlain,
                   ": expected scale of float32", wide_only ? "" : " or bfloat16", ", got ", dtype);
  if (!offset.defined()) return;
  TORCH_CHECK_TYPE(offset.scalar_type() == dtype, kPlain, ": expected offset of scale's dtype ",
                   dtype, ", got ", offset.scalar_type());
  TORCH_CHECK_VALUE(offset.sizes() == scale.sizes(), kPlain, ": expected offset of scale's shape ",
                    scale.sizes(), ", got ", offset.sizes());
}

at::Tensor anti_quant(const at::Tensor& x, const at::Tensor& scale, const MaybeTensor& offset,
                      MaybeInteger dst_dtype, MaybeInteger src_dtype) {
  const Element element = source_of(x, src_dtype);
  const at::ScalarType out = result_dtype({.op = kPlain, .argument = "dst_dtype"}, dst_dtype,
                                          at::kHalf, {at::kHalf, at::kBFloat16});
  TORCH_CHECK_VALUE(element != Element::kInt4 || x.dim() > 0, kPlain,
                    ": expected x of int32 with an axis, got a scalar");
  check_scale_dtypes(scale, or_undefined(offset), element);
  const at::Tensor values = decoded(element == Element::kInt4 ? x.contiguous() : x, element);
  const at::Tensor factor = placed("scale", scale, values);
  if (!given(offset)) return (values * factor).to(out);
  return ((values + placed("offset", *offset, values)) * factor).to(out);
}

// --- npu_anti_mx_quant
constexpr const char* kMx = "npu_anti_mx_quant";

// What src_type says, and x's dtype must agree with. Source: AntiMxQuantKernelNpuOpApi.cpp.
Element mx_source_of(const at::Tensor& x, MaybeInteger src_type) {
  constexpr std::int64_t kFp4E2m1 = 296;
  const Element element =
      require_element({.op = kMx, .argument = "src_type"}, src_type.value_or(kFp4E2m1));
  const bool fp4 = element == Element::kE2m1 || element == Element::kE1m2;
  const bool fp8 = element == Element::kE4m3 || element == Element::kE5m2;
  TORCH_CHECK_VALUE(fp4 || fp8, kMx, ": expected src_type of fp8 or fp4, got ",
                    src_type.value_or(kFp4E2m1));
  TORCH_CHECK_TYPE(x.scalar_type() == carrier(element), kMx, ": expected x of ", carrier(element),
                   " for this src_type, got ", x.scalar_type());
  return element;
}

at::Tensor anti_mx_quant(const at::Tensor& x, const at::Tensor& mxscale, MaybeInteger axis,
                         MaybeInteger dst_type, MaybeInteger src_type) {
  const Element element = mx_source_of(x, src_type);
  const at::ScalarType out = result_dtype({.op = kMx, .argument = "dst_type"}, dst_type,
                                          at::kBFloat16, {at::kFloat, at::kHalf, at::kBFloat16});
  TORCH_CHECK_VALUE(x.dim() >= 1 && x.dim() <= 7, kMx, ": expected x of 1 to 7 axes, got ",
                    x.sizes());
  const std::int64_t asked = axis.value_or(-1);
  TORCH_CHECK_INDEX(asked >= -x.dim() && asked < x.dim(), kMx, ": expected axis in [", -x.dim(),
                    ", ", x.dim() - 1, "], got ", asked);
  const std::int64_t along = asked < 0 ? asked + x.dim() : asked;
  const at::Tensor values = decoded(compute::bits(element) == 4 ? x.contiguous() : x, element);
  std::vector<std::int64_t> expected = values.sizes().vec();
  constexpr std::int64_t kPair = 2 * kMxGroup;
  expected[static_cast<std::size_t>(along)] = (values.size(along) + kPair - 1) / kPair;
  expected.push_back(2);
  TORCH_CHECK_VALUE(mxscale.sizes() == at::IntArrayRef(expected), kMx, ": expected mxscale of ",
                    at::IntArrayRef(expected), ", got ", mxscale.sizes());
  TORCH_CHECK_TYPE(c10::elementSize(mxscale.scalar_type()) == 1, kMx,
                   ": expected mxscale of float8_e8m0fnu (8 bits), got ", mxscale.scalar_type());
  const at::Tensor blocks = decoded_e8m0(mxscale).movedim(-1, along + 1).flatten(along, along + 1);
  return (values * of_each_element(blocks, along, kMxGroup, values.size(along))).to(out);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&anti_quant>(m, kPlain);
  composed_kernel<&anti_mx_quant>(m, kMx);
}

}  // namespace
}  // namespace npu_sim::ops
