// npu_grouped_matmul_swiglu_quant_v2: the first product of a mixture of experts, its SwiGLU, and
// its quantisation for the second product.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "ops/activation/gated_halves.h"
#include "ops/host_kernel.h"
#include "ops/matmul/grouped_forms.h"
#include "ops/matmul/grouped_work.h"
#include "ops/matmul/product_work.h"
#include "ops/quant/mx.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

constexpr const char* kOp = "npu_grouped_matmul_swiglu_quant_v2";

// --- work: the product in fp32, then the rest as rows. The card keeps the product in L2.
struct Described {
  Coded x;
  Matrices weight;
  std::int64_t rows = 0;  // that belong to a group
  std::optional<GroupSpans> spans = std::nullopt;
};

Described described(const aten::Call& call) {
  Described result{
      .x = coded_operand({kOp, "x"}, call.argument(0), dtype_at(call, 14)),
      .weight = Matrices({kOp, "weight"}, call.arguments[1].toTensorVector(), dtype_at(call, 15),
                         coded_operand({kOp, "x"}, call.argument(0), dtype_at(call, 14)))};
  result.rows = result.x.codes.size(0);
  const auto list = aten::integers_at(call, 4);
  if (!list.has_value()) return result;
  result.spans = spans_of(*list, aten::integer_at(call, 12, kRunningSums));
  result.rows = result.spans->empty() ? 0 : result.spans->back().first + result.spans->back().size;
  return result;
}

model::Work product_work(const aten::Call& call) {
  const Described operands = described(call);
  const bool mx = holds_e8m0(aten::tensor_at(call, 2), dtype_at(call, 16));
  return work_by_rows({.groups = operands.weight.groups(),
                       .rows = operands.x.codes.size(0),
                       .n = operands.weight.size(-1),
                       .k = numbers_along(operands.x, -1),
                       .a = product_format(operands.x, mx),
                       .b = product_format(operands.weight.first(), mx),
                       .out = base::Format::kFp32,
                       .spans = operands.spans});
}

// Sigmoid, both products, largest magnitude; scale, round, converts, store.
model::Work swiglu_quant_work(const aten::Call& call) {
  const Described operands = described(call);
  if (operands.rows == 0) return model::NoWork{};
  const std::int64_t columns = operands.weight.size(-1) / 2;
  constexpr std::int64_t kFp32Bytes = 4;
  return model::RowWork{.rows = operands.rows,
                        .columns = columns,
                        .read = base::Bytes(operands.rows * columns * 2 * kFp32Bytes),
                        .written = aten::bytes_of(call.result(0)) + aten::bytes_of(call.result(1)),
                        .linear_ops = 16,
                        .special_ops = 2,
                        .reductions = 1,
                        .passes = 2};
}
constexpr aten::Describer kSwigluQuant[] = {swiglu_quant_work};
constexpr aten::Entry kEntries[] = {
    {"npu_grouped_matmul_swiglu_quant_v2", product_work, kSwigluQuant}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Quantisation {
  bool mx = false;
  at::ScalarType between = at::kFloat;  // dtype of the dequantised product
  Element element = Element::kInt8;
};

Quantisation quantisation(bool mx, std::int64_t dequant_mode, std::int64_t quant_mode,
                          std::int64_t dequant_dtype, std::int64_t quant_dtype) {
  const std::int64_t mode = mx ? 2 : 0;
  TORCH_CHECK_VALUE(dequant_mode == mode && quant_mode == mode, kOp,
                    ": expected dequant_mode and quant_mode of ", mode, " with weight_scale of ",
                    mx ? "float8_e8m0fnu" : "float32", ", got ", dequant_mode, " and ", quant_mode);
  const auto between = static_cast<at::ScalarType>(dequant_dtype);
  const bool known = dequant_dtype == static_cast<std::int64_t>(at::kFloat) ||
                     (!mx && (dequant_dtype == static_cast<std::int64_t>(at::kHalf) ||
                              dequant_dtype == static_cast<std::int64_t>(at::kBFloat16)));
  TORCH_CHECK_VALUE(known, kOp, ": expected dequant_dtype of float32",
                    mx ? "" : ", float16 or bfloat16", ", got ", dequant_dtype);
  const Element element = require_element({kOp, "quant_dtype"}, quant_dtype);
  const bool four_bits = compute::bits(element) == 4;
  const bool fits =
      mx ? element != Element::kInt8 && element != Element::kInt4 && element != Element::kHifloat8
         : !four_bits;
  TORCH_CHECK_VALUE(fits, kOp, ": expected quant_dtype of ",
                    mx ? "float8 or float4" : "int8, float8 or hifloat8",
                    " with this weight_scale, got ", quant_dtype);
  return {.mx = mx, .between = between, .element = element};
}

// --- compute
at::Tensor swiglu(const at::Tensor& product) {
  const GatedHalves halves = gated_halves(kOp, product, -1, /*gate_first=*/true);
  return at::silu(halves.gate) * halves.value;
}

std::tuple<at::Tensor, at::Tensor> quantised(const at::Tensor& values, const Quantisation& form) {
  if (!form.mx) {
    const Quantized rows = quantize_rows(
        kOp, values, {.element = form.element, .rounding = cast_rounding(form.element)});
    return {rows.codes, rows.scale};
  }
  const Quantized blocks = mx_quantize(kOp, values, {.element = form.element});
  const bool e2m1 = form.element == Element::kE2m1;
  return {e2m1 ? blocks.codes.view(at::kFloat4_e2m1fn_x2) : blocks.codes,
          blocks.scale.view(at::kFloat8_e8m0fnu)};
}

struct SwigluCall {
  const at::Tensor& x;
  at::TensorList weight;
  at::TensorList weight_scale;
  const at::Tensor& x_scale;
  const at::Tensor& group_list;
  std::int64_t list_type;
  std::optional<std::int64_t> x_dtype;
  std::optional<std::int64_t> weight_dtype;
  std::optional<std::int64_t> weight_scale_dtype;
  std::optional<std::int64_t> x_scale_dtype;
};

ScaleArgument weight_scales(const SwigluCall& call, const Matrices& weight) {
  TORCH_CHECK_VALUE(call.weight_scale.size() == call.weight.size(), kOp,
                    ": expected as many weight_scale as weight tensors, ", call.weight.size(),
                    ", got ", call.weight_scale.size());
  const at::Tensor& first = call.weight_scale[0];
  return {.name = {kOp, "weight_scale"},
          .tensor = weight.in_one_tensor() ? first : at::stack(call.weight_scale),
          .mx = holds_e8m0(first, call.weight_scale_dtype)};
}

// The product [m, n] in fp32; a meta tensor where the list has no values.
at::Tensor product(const SwigluCall& call, const Coded& x, const Matrices& weight,
                   const ScaleArgument& columns) {
  const GroupedSizes sizes{
      .groups = weight.groups(), .m = x.codes.size(0), .n = weight.size(-1), .k = weight.size(-2)};
  TORCH_CHECK_VALUE(x.codes.dim() == 2 && numbers_along(x, 1) == sizes.k, kOp,
                    ": expected x of [m, k] and weight of [groups, k, n], got ", x.codes.sizes(),
                    " and ", weight.first().codes.sizes());
  const RowGroupScales scales =
      row_group_scales({.name = {kOp, "x_scale"},
                        .tensor = call.x_scale,
                        .mx = holds_e8m0(call.x_scale, call.x_scale_dtype)},
                       columns, sizes);
  const std::optional<Integers> list = group_list_of(kOp, call.group_list);
  if (!list.has_value()) {
    return at::empty({sizes.m, sizes.n}, x.codes.options().dtype(at::kFloat));
  }
  const GroupSpans spans = checked_spans({kOp, *list, call.list_type}, sizes.groups, sizes.m);
  return product_by_rows({x, weight, scales, {}}, spans);
}

// Arguments of forms that an Ascend 950 lacks.
void refuse_older_forms(const MaybeTensor& smooth_scale, const Tensors& weight_assist_matrix,
                        const MaybeTensor& bias) {
  TORCH_CHECK_VALUE(!given(smooth_scale) && !given(weight_assist_matrix) && !given(bias), kOp,
                    ": expected no smooth_scale, weight_assist_matrix or bias, which an Ascend 950 "
                    "does not take, got one");
}

std::tuple<at::Tensor, at::Tensor> grouped_matmul_swiglu_quant_v2(
    const at::Tensor& x, at::TensorList weight, at::TensorList weight_scale,
    const at::Tensor& x_scale, const at::Tensor& group_list, const MaybeTensor& smooth_scale,
    Tensors weight_assist_matrix, const MaybeTensor& bias, std::optional<std::int64_t> dequant_mode,
    std::optional<std::int64_t> dequant_dtype, std::optional<std::int64_t> quant_mode,
    std::optional<std::int64_t> quant_dtype, std::optional<std::int64_t> group_list_type,
    [[maybe_unused]] at::OptionalIntArrayRef tuning_config, std::optional<std::int64_t> x_dtype,
    std::optional<std::int64_t> weight_dtype, std::optional<std::int64_t> weight_scale_dtype,
    std::optional<std::int64_t> x_scale_dtype) {
  constexpr std::int64_t kFloat32 = 6;
  constexpr std::int64_t kInt8 = 1;
  refuse_older_forms(smooth_scale, weight_assist_matrix, bias);
  const SwigluCall call{.x = x,
                        .weight = weight,
                        .weight_scale = weight_scale,
                        .x_scale = x_scale,
                        .group_list = group_list,
                        .list_type = group_list_type.value_or(kRunningSums),
                        .x_dtype = x_dtype,
                        .weight_dtype = weight_dtype,
                        .weight_scale_dtype = weight_scale_dtype,
                        .x_scale_dtype = x_scale_dtype};
  check_list_type(kOp, call.list_type, 2);
  const Coded rows = coded_operand({kOp, "x"}, x, x_dtype);
  const Matrices matrices({kOp, "weight"}, weight, weight_dtype, rows);
  check_multiplied(kOp, rows, matrices.first());
  TORCH_CHECK_TYPE(matrices.first().element != Element::kInt4, kOp,
                   ": expected weight of int8 with x of int8, got int4");
  const ScaleArgument columns = weight_scales(call, matrices);
  const Quantisation form =
      quantisation(columns.mx, dequant_mode.value_or(0), quant_mode.value_or(0),
                   dequant_dtype.value_or(kFloat32), quant_dtype.value_or(kInt8));
  const at::Tensor between = product(call, rows, matrices, columns).to(form.between);
  return quantised(swiglu(between), form);
}

// --- what an Ascend 950 lacks
// Source: the tables of products of aclnnGroupedMatmulSwigluQuantWeightNZ and
// aclnnQuantGroupedMatmulDequant(WeightNZ) in CANN's ops-transformer.
constexpr const char* kLacks = " lacks it";

std::tuple<at::Tensor, at::Tensor, at::Tensor> grouped_matmul_swiglu_quant(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    const MaybeTensor&, const MaybeTensor&) {
  TORCH_CHECK(false,
              "npu_grouped_matmul_swiglu_quant: expected a card with this kernel, got an Ascend "
              "950, which",
              kLacks,
              "; use npu_grouped_matmul_swiglu_quant_v2 (ERR01007 OPS feature not supported)");
}

at::Tensor quant_grouped_matmul_dequant(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                        const at::Tensor&, const MaybeTensor&, const MaybeTensor&,
                                        const MaybeTensor&, const MaybeTensor&,
                                        std::optional<c10::string_view>) {
  TORCH_CHECK(false,
              "npu_quant_grouped_matmul_dequant: expected a card with this kernel, got an Ascend "
              "950, which",
              kLacks,
              "; use npu_dynamic_quant and npu_grouped_matmul (ERR01007 OPS feature not "
              "supported)");
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&grouped_matmul_swiglu_quant_v2>(m, "npu_grouped_matmul_swiglu_quant_v2");
  composed_kernel<&grouped_matmul_swiglu_quant>(m, "npu_grouped_matmul_swiglu_quant");
  composed_kernel<&quant_grouped_matmul_dequant>(m, "npu_quant_grouped_matmul_dequant");
}

}  // namespace
}  // namespace npu_sim::ops
