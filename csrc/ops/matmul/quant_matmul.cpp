// npu_quant_matmul: a product of two quantised operands.
#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/matmul/product_work.h"
#include "ops/matmul/quant_matmul_modes.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_quant_matmul";

// --- work
constexpr std::size_t kScale = 2;
constexpr std::size_t kOffset = 3;
constexpr std::size_t kTokenScale = 4;
constexpr std::size_t kBias = 5;
constexpr std::size_t kScaleDtype = 10;
constexpr std::size_t kResultScale = 12;

// The scales of MX operands are part of their formats.
model::Work describe_product(const aten::Call& call) {
  const Coded x1 = operand_at(call, 0, 7);
  const Coded x2 = operand_at(call, 1, 8);
  if (is_e8m0_scale(aten::tensor_at(call, kScale), aten::integer_at(call, kScaleDtype, -1))) {
    return product_work(call, x1, x2, true, {kBias});
  }
  return product_work(call, x1, x2, false, {kScale, kOffset, kTokenScale, kBias, kResultScale});
}

model::Work describe_scale_packing(const aten::Call& call) {
  const at::Tensor& scale = aten::tensor_at(call, kScale);
  const bool packs =
      packs_scale(aten::tensor_at(call, 0), scale, aten::tensor_at(call, kTokenScale).defined(),
                  aten::integer_at(call, 7, -1) >= 0, aten::output_of(call).scalar_type());
  if (!packs) return model::NoWork{};
  const base::Bytes written{scale.numel() * static_cast<std::int64_t>(sizeof(std::int64_t))};
  return model::VectorWork{
      .elements = scale.numel(),
      .read = aten::bytes_of(scale) + aten::bytes_of(aten::tensor_at(call, kOffset)),
      .written = written,
      .linear_ops = 2};
}
constexpr aten::Describer kPackingThenProduct[] = {describe_product};
constexpr aten::Entry kEntries[] = {{kOp, describe_scale_packing, kPackingThenProduct}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- checks
void check_operands(const Coded& x1, const Coded& x2, const at::Tensor& scale, bool mx) {
  const bool known = x1.element.has_value() && x2.element.has_value();
  TORCH_CHECK_TYPE(known, kOp, ": expected x1 and x2 of int8, int4, fp8, hifloat8 or fp4, got ",
                   x1.codes.scalar_type(), " and ", x2.codes.scalar_type());
  const bool fp4 = *x2.element == Element::kE2m1;
  const bool pair = x1.element == x2.element || (is_fp8(x1) && is_fp8(x2)) ||
                    (*x1.element == Element::kE4m3 && fp4);
  TORCH_CHECK_TYPE(pair && *x1.element != Element::kE1m2, kOp,
                   ": expected x1 and x2 of one format, two of fp8, or float8_e4m3fn and "
                   "float4_e2m1fn_x2, got formats of ",
                   x1.codes.scalar_type(), " and ", x2.codes.scalar_type());
  const bool of_fp4 = *x1.element == Element::kE2m1;
  TORCH_CHECK_TYPE(!mx || is_fp8(x1) || of_fp4, kOp,
                   ": expected x1 of fp8 or fp4 with scales of float8_e8m0fnu, got ",
                   x1.codes.scalar_type());
  TORCH_CHECK_TYPE(mx || !of_fp4, kOp,
                   ": expected scales of float8_e8m0fnu with fp4 operands, got ",
                   scale.scalar_type());
}

// Where last axes are swapped in memory, the card wants it of an operand and its scale alike.
bool is_swapped(const at::Tensor& tensor, std::int64_t axis) {
  return tensor.stride(axis + 1) == tensor.stride(axis) * tensor.size(axis);
}

void check_layouts(const char* operand, const at::Tensor& x, const char* argument,
                   const at::Tensor& scale, bool mx) {
  const std::int64_t of_x = x.dim() - 2;
  const std::int64_t of_scale = scale.dim() - (mx ? 3 : 2);
  if (of_scale < 0) return;
  const bool single = (x.size(of_x) == 1 && x.size(of_x + 1) == 1) ||
                      (scale.size(of_scale) == 1 && scale.size(of_scale + 1) == 1);
  TORCH_CHECK_VALUE(single || is_swapped(x, of_x) == is_swapped(scale, of_scale), kOp,
                    ": expected ", operand, " and ", argument,
                    " transposed alike in memory, got strides ", x.strides(), " and ",
                    scale.strides());
}

void check_arguments(const QuantProduct& call) {
  check_product(kOp, call.x1, call.x2);
  if (call.bias.defined()) check_bias(kOp, call.bias, call.x1, call.x2);
  TORCH_CHECK_VALUE(call.groups.empty() || call.groups.size() == 3, kOp,
                    ": expected group_sizes of [m, n, k], got ", call.groups);
  for (const std::int64_t size : call.groups) {
    TORCH_CHECK_VALUE(size >= 0 && size <= 65535, kOp, ": expected group_sizes in [0, 65535], got ",
                      call.groups);
  }
  if (call.of_fp8_by_fp4()) {
    const bool fits =
        call.x1.codes.dim() == 2 && call.x2.codes.dim() == 2 && packed_axis(call.x2.codes) == 0;
    TORCH_CHECK_VALUE(fits, kOp,
                      ": expected x1 of [m, k] and x2 of [k, n] transposed in memory for ",
                      "fp8 by fp4, got ", call.x1.codes.sizes(), " and ", call.x2.codes.sizes());
    return;
  }
  if (call.token.defined() && call.token.dim() >= 2 && call.scale.dim() >= 2) {
    check_layouts("x1", call.x1.codes, "pertoken_scale", call.token, call.mx);
    check_layouts("x2", call.x2.codes, "scale", call.scale, call.mx);
  }
}

at::ScalarType result_of(const Coded& x1, MaybeInteger output_dtype) {
  const ArgumentName name{.op = kOp, .argument = "output_dtype"};
  if (x1.element == Element::kInt8) {
    return result_dtype(name, output_dtype, at::kChar,
                        {at::kChar, at::kHalf, at::kBFloat16, at::kInt});
  }
  if (x1.element == Element::kInt4) {
    return result_dtype(name, output_dtype, at::kChar, {at::kHalf, at::kBFloat16});
  }
  return result_dtype(name, output_dtype, at::kChar, {at::kHalf, at::kBFloat16, at::kFloat});
}

// --- op
at::Tensor quant_matmul(const at::Tensor& x1, const at::Tensor& x2, const at::Tensor& scale,
                        const MaybeTensor& offset, const MaybeTensor& pertoken_scale,
                        const MaybeTensor& bias, MaybeInteger output_dtype, MaybeInteger x1_dtype,
                        MaybeInteger x2_dtype, MaybeInteger pertoken_scale_dtype,
                        MaybeInteger scale_dtype, at::OptionalIntArrayRef group_sizes,
                        const MaybeTensor& y_scale) {
  const Coded a{.codes = x1, .element = element_of(x1, x1_dtype)};
  const Coded b = packed_operand(x2, x2_dtype);
  const bool mx = is_e8m0_scale(scale, scale_dtype);
  check_operands(a, b, scale, mx);
  const QuantProduct call{.x1 = a,
                          .x2 = b,
                          .scale = scale,
                          .offset = or_undefined(offset),
                          .token = or_undefined(pertoken_scale),
                          .bias = or_undefined(bias),
                          .result_scale = or_undefined(y_scale),
                          .groups = group_sizes.value_or(at::IntArrayRef{}),
                          .out = result_of(a, output_dtype),
                          .mx = mx,
                          .typed = x1_dtype.has_value()};
  TORCH_CHECK_TYPE(
      !mx || (given(pertoken_scale) && is_e8m0_scale(call.token, pertoken_scale_dtype)), kOp,
      ": expected pertoken_scale of float8_e8m0fnu as scale is");
  check_arguments(call);
  return quant_product(call);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&quant_matmul>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
