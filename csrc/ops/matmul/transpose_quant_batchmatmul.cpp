// npu_transpose_quant_batchmatmul: [m, b, k] by [b, k, n], written as [m, b, n].
// Source of the modes: npu_transpose_quant_batchmatmul in the documentation of Ascend/op-plugin.
#include <ATen/TensorOperators.h>

#include <array>

#include "aten/describe/registry.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/matmul/packed_scale.h"
#include "ops/matmul/product_work.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_transpose_quant_batchmatmul";

// --- work
// x1 [m, b, k] and x2 [b, k, n] or [b, n, k]: a product a batch.
model::Work describe_transposed(const aten::Call& call) {
  constexpr std::size_t kPermX2 = 8;
  const Coded x1 = operand_at(call, 0, 11);
  const Coded x2 = operand_at(call, 1, 12);
  const c10::IValue& perm = call.arguments[kPermX2];
  const bool swapped = perm.isIntList() && perm.toIntVector() == Integers{0, 2, 1};
  const bool mx = is_e8m0_scale(aten::tensor_at(call, 4));
  const model::MatmulWork product{.batch = x1.codes.size(1),
                                  .m = x1.codes.size(0),
                                  .n = x2.codes.size(swapped ? 1 : 2),
                                  .k = x1.codes.size(2),
                                  .a = product_format(x1, mx),
                                  .b = product_format(x2, mx),
                                  .out = aten::format_of(call.result()),
                                  .b_transposed = swapped};
  if (mx) return product;
  return with_reads(product, call, {4, 5});
}

constexpr aten::Entry kEntries[] = {{"npu_transpose_quant_batchmatmul", describe_transposed}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
struct BatchProduct {
  Coded x1;  // [b, m, k]
  Coded x2;  // [b, k, n]
  at::Tensor x1_scale;
  at::Tensor x2_scale;

  [[nodiscard]] std::int64_t m() const { return x1.codes.size(1); }
  [[nodiscard]] std::int64_t k() const { return x1.codes.size(2); }
  [[nodiscard]] std::int64_t n() const { return x2.codes.size(2); }
};

at::Tensor of_mx_blocks(const BatchProduct& call, at::OptionalIntArrayRef groups, bool swapped) {
  TORCH_CHECK_TYPE(call.x1.element == Element::kE4m3 && call.x2.element == Element::kE4m3, kOp,
                   ": expected x1 and x2 of float8_e4m3fn with MX scales, got ",
                   call.x1.codes.scalar_type(), " and ", call.x2.codes.scalar_type());
  const bool fits = groups.has_value() && groups->size() == 3 && (*groups)[0] >= 0 &&
                    (*groups)[0] <= 1 && (*groups)[1] >= 0 && (*groups)[1] <= 1 &&
                    (*groups)[2] == kMxGroup;
  TORCH_CHECK_VALUE(fits, kOp,
                    ": expected group_sizes of [1, 1, 32] or [0, 0, 32] with MX scales, got ",
                    groups.value_or(at::IntArrayRef{}));
  TORCH_CHECK_VALUE(call.k() % (2 * kMxGroup) == 0, kOp,
                    ": expected k divisible by 64 with MX scales, got ", call.k());
  TORCH_CHECK_VALUE(call.x1_scale.dim() == 4 && call.x2_scale.dim() == 4, kOp,
                    ": expected x1_scale of [m, b, k / 64, 2] and x2_scale of four axes, got ",
                    call.x1_scale.sizes(), " and ", call.x2_scale.sizes());
  const at::Tensor of_x2 = swapped ? call.x2_scale.transpose(1, 2) : call.x2_scale;
  const std::int64_t batch = call.x1.codes.size(0);
  TORCH_CHECK_VALUE(call.x1_scale.size(1) == batch && of_x2.size(0) == batch, kOp,
                    ": expected x1_scale and x2_scale of ", batch, " batches, got ",
                    call.x1_scale.sizes(), " and ", call.x2_scale.sizes());
  const Scales scales{
      .a = mx_factors_of_rows({kOp, "x1_scale"}, call.x1_scale.transpose(0, 1), call.m(), call.k()),
      .b = mx_factors_of_columns({kOp, "x2_scale"}, of_x2, call.k(), call.n()),
      .group = kMxGroup,
      .powers_of_two = true};
  return scaled_product(call.x1, call.x2, scales);
}

at::Tensor of_tokens_or_tensors(const BatchProduct& call, bool swapped) {
  const bool hifloat8 = call.x1.element == Element::kHifloat8;
  TORCH_CHECK_TYPE(
      (hifloat8 && call.x2.element == Element::kHifloat8) || (is_fp8(call.x1) && is_fp8(call.x2)),
      kOp, ": expected x1 and x2 of fp8, or both of hifloat8, got ", call.x1.codes.scalar_type(),
      " and ", call.x2.codes.scalar_type());
  TORCH_CHECK_VALUE(hifloat8 || !swapped, kOp,
                    ": expected perm_x2 of [0, 1, 2] with a scale a token, got [0, 2, 1]");
  const bool packed = call.x2_scale.defined() && hifloat8 && is_packed(call.x2_scale);
  const auto is_row = [](const at::Tensor& scale, std::int64_t size) {
    return scale.defined() && scale.sizes() == at::IntArrayRef{size};
  };
  TORCH_CHECK_VALUE(is_row(call.x2_scale, call.n()), kOp, ": expected x2_scale of [", call.n(),
                    "], got ", call.x2_scale.defined() ? call.x2_scale.sizes() : at::IntArrayRef{});
  const std::int64_t rows = hifloat8 ? 1 : call.m();
  const bool absent = hifloat8 && !call.x1_scale.defined();
  TORCH_CHECK_VALUE(absent || is_row(call.x1_scale, rows), kOp, ": expected x1_scale of [", rows,
                    "], got ", call.x1_scale.defined() ? call.x1_scale.sizes() : at::IntArrayRef{});
  const bool wide = (absent || call.x1_scale.scalar_type() == at::kFloat) &&
                    (packed || call.x2_scale.scalar_type() == at::kFloat);
  TORCH_CHECK_TYPE(wide, kOp, ": expected x1_scale and x2_scale of float32");
  const Scales scales{.a = absent ? at::Tensor{} : call.x1_scale.unsqueeze(-1),
                      .b = packed ? factors_of(call.x2_scale) : call.x2_scale};
  return scaled_product(call.x1, call.x2, scales);
}

// HiFloat8 results are codes in bytes.
at::Tensor in_dtype(const at::Tensor& values, std::int64_t dtype) {
  if (element_of(dtype) == Element::kHifloat8) {
    return encoded(kOp, values, Element::kHifloat8, cast_rounding(Element::kHifloat8));
  }
  return values.to(result_dtype({kOp, "dtype"}, dtype, at::kHalf, {at::kHalf, at::kBFloat16}));
}

void check_perm(const char* argument, at::OptionalIntArrayRef perm,
                std::initializer_list<std::array<std::int64_t, 3>> allowed) {
  if (!perm.has_value()) return;
  for (const auto& each : allowed) {
    if (*perm == at::IntArrayRef(each)) return;
  }
  TORCH_CHECK_VALUE(false, kOp, ": expected ", argument, " of ", at::IntArrayRef(*allowed.begin()),
                    allowed.size() > 1 ? " or [0, 2, 1]" : "", ", got ", *perm);
}

at::Tensor transpose_quant_batchmatmul(
    const at::Tensor& x1, const at::Tensor& x2, std::int64_t dtype, const MaybeTensor& bias,
    const MaybeTensor& x1_scale, const MaybeTensor& x2_scale, at::OptionalIntArrayRef group_sizes,
    at::OptionalIntArrayRef perm_x1, at::OptionalIntArrayRef perm_x2,
    at::OptionalIntArrayRef perm_y, MaybeInteger batch_split_factor, MaybeInteger x1_dtype,
    MaybeInteger x2_dtype) {
  check_perm("perm_x1", perm_x1, {{1, 0, 2}});
  check_perm("perm_x2", perm_x2, {{0, 1, 2}, {0, 2, 1}});
  check_perm("perm_y", perm_y, {{1, 0, 2}});
  TORCH_CHECK_VALUE(!given(bias), kOp, ": expected no bias, got one");
  TORCH_CHECK_VALUE(batch_split_factor.value_or(1) == 1, kOp,
                    ": expected batch_split_factor of 1, got ", batch_split_factor.value_or(1));
  TORCH_CHECK_VALUE(x1.dim() == 3 && x2.dim() == 3, kOp,
                    ": expected x1 of [m, b, k] and x2 of three axes, got ", x1.sizes(), " and ",
                    x2.sizes());
  const bool swapped = perm_x2.has_value() && (*perm_x2)[1] == 2;
  const at::Tensor columns = swapped ? x2.transpose(1, 2) : x2;
  TORCH_CHECK_VALUE(x1.size(1) == columns.size(0) && x1.size(2) == columns.size(1), kOp,
                    ": expected x1 of [m, b, k] and x2 of [b, k, n] after perm_x2, got ",
                    x1.sizes(), " and ", columns.sizes());
  const BatchProduct call{.x1 = {.codes = x1.transpose(0, 1), .element = element_of(x1, x1_dtype)},
                          .x2 = {.codes = columns, .element = element_of(x2, x2_dtype)},
                          .x1_scale = or_undefined(x1_scale),
                          .x2_scale = or_undefined(x2_scale)};
  const bool mx = is_e8m0_scale(call.x1_scale) && is_e8m0_scale(call.x2_scale);
  const at::Tensor values =
      mx ? of_mx_blocks(call, group_sizes, swapped) : of_tokens_or_tensors(call, swapped);
  return in_dtype(values.transpose(0, 1).contiguous(), dtype);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&transpose_quant_batchmatmul>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
