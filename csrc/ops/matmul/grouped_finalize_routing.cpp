// npu_grouped_matmul_finalize_routing: the second product of a mixture of experts, its rows added
// to the tokens they belong to.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "ops/host_kernel.h"
#include "ops/matmul/grouped_forms.h"
#include "ops/matmul/grouped_work.h"
#include "ops/matmul/product_work.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_grouped_matmul_finalize_routing";

// --- work: the result begins as zeros and the shared expert's rows; then the product, whose rows
// are added to it in memory.
model::Work begun(const aten::Call& call) {
  const at::Tensor& out = call.result();
  const at::Tensor& shared = aten::tensor_at(call, 7);
  return model::VectorWork{.elements = aten::elements_of(out),
                           .read = aten::bytes_of(shared),
                           .written = aten::bytes_of(out)};
}

model::Work added_product(const aten::Call& call) {
  const Coded x = coded_operand({kOp, "x"}, call.argument(0), dtype_at(call, 16));
  const Coded weight = coded_weight({kOp, "w"}, call.argument(1), dtype_at(call, 17), x);
  const bool mx = holds_e8m0(aten::tensor_at(call, 3), dtype_at(call, 18));
  GroupedProduct product{.groups = weight.codes.size(0),
                         .rows = x.codes.size(0),
                         .n = numbers_along(weight, -1),
                         .k = numbers_along(x, -1),
                         .a = product_format(x, mx),
                         .b = product_format(weight, mx),
                         .out = base::Format::kFp32};
  const auto list = aten::integers_at(call, 2);
  if (list.has_value()) product.spans = spans_of(*list, aten::integer_at(call, 14, kCounts));
  return work_by_rows(product);
}
constexpr aten::Describer kProduct[] = {added_product};
constexpr aten::Entry kEntries[] = {{"npu_grouped_matmul_finalize_routing", begun, kProduct}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Routing {
  const MaybeTensor& shared_input;
  const MaybeTensor& logit;
  const MaybeTensor& row_index;
  double shared_input_weight = 1;
  std::int64_t shared_input_offset = 0;
  std::int64_t output_rows = 0;
};

void check_a_row(const char* name, const MaybeTensor& tensor, std::int64_t m) {
  TORCH_CHECK_VALUE(given(tensor) && tensor->sizes() == at::IntArrayRef({m}), kOp, ": expected ",
                    name, " of [", m, "], one a row of x, got ",
                    given(tensor) ? tensor->sizes() : at::IntArrayRef{});
}

void check_routing(const Routing& routing, std::int64_t m, std::int64_t n) {
  check_a_row("logit", routing.logit, m);
  check_a_row("row_index", routing.row_index, m);
  TORCH_CHECK_TYPE(routing.logit->scalar_type() == at::kFloat, kOp,
                   ": expected logit of float32, got ", routing.logit->scalar_type());
  const at::ScalarType index = routing.row_index->scalar_type();
  TORCH_CHECK_TYPE(index == at::kLong || index == at::kInt, kOp,
                   ": expected row_index of int64 or int32, got ", index);
  TORCH_CHECK_VALUE(routing.output_rows >= 0 && routing.shared_input_offset >= 0, kOp,
                    ": expected output_bs and shared_input_offset from 0, got ",
                    routing.output_rows, " and ", routing.shared_input_offset);
  if (!given(routing.shared_input)) return;
  const at::Tensor& shared = *routing.shared_input;
  TORCH_CHECK_TYPE(shared.scalar_type() == at::kBFloat16, kOp,
                   ": expected shared_input of bfloat16, got ", shared.scalar_type());
  const bool fits = shared.dim() == 2 && shared.size(1) == n &&
                    shared.size(0) + routing.shared_input_offset <= routing.output_rows;
  TORCH_CHECK_VALUE(fits, kOp, ": expected shared_input of [rows, ", n, "] within ",
                    routing.output_rows, " rows from row ", routing.shared_input_offset, ", got ",
                    shared.sizes());
}

void check_bias(const MaybeTensor& bias, const GroupedSizes& sizes) {
  if (!given(bias)) return;
  TORCH_CHECK_TYPE(bias->scalar_type() == at::kBFloat16, kOp, ": expected bias of bfloat16, got ",
                   bias->scalar_type());
  TORCH_CHECK_VALUE(bias->sizes() == at::IntArrayRef({sizes.groups, sizes.n}), kOp,
                    ": expected bias of [", sizes.groups, ", ", sizes.n, "], got ", bias->sizes());
}

// --- compute
// Rows of `product` that belong to a group, times their logits, added to the rows they go to.
at::Tensor combined(const at::Tensor& product, const Routing& routing, const GroupSpans& spans) {
  at::Tensor y = at::zeros({routing.output_rows, product.size(1)}, product.options());
  if (given(routing.shared_input)) {
    y.narrow(0, routing.shared_input_offset, routing.shared_input->size(0))
        .copy_(widened(*routing.shared_input) * routing.shared_input_weight);
  }
  const std::int64_t rows = spans.empty() ? 0 : spans.back().first + spans.back().size;
  const at::Tensor index = routing.row_index->narrow(0, 0, rows);
  for (const std::int64_t row : integers_in(index)) {
    TORCH_CHECK_INDEX(row >= 0 && row < routing.output_rows, kOp, ": expected row_index from 0 to ",
                      routing.output_rows - 1, ", got ", row);
  }
  const at::Tensor weighted =
      product.narrow(0, 0, rows) * routing.logit->narrow(0, 0, rows).unsqueeze(1);
  return y.index_add_(0, index, weighted);
}

struct FinalizeArguments {
  const Coded& x;
  const Matrices& weight;
  ScaleArgument scale;
  ScaleArgument per_token_scale;
  const MaybeTensor& bias;
  const at::Tensor& group_list;
  std::int64_t list_type;
};

at::Tensor finalized(const FinalizeArguments& call, const Routing& routing) {
  const GroupedSizes sizes{.groups = call.weight.groups(),
                           .m = call.x.codes.size(0),
                           .n = call.weight.size(-1),
                           .k = call.weight.size(-2)};
  TORCH_CHECK_VALUE(numbers_along(call.x, 1) == sizes.k, kOp,
                    ": expected x of [m, k] and w of [groups, k, n], got ", call.x.codes.sizes(),
                    " and ", call.weight.first().codes.sizes());
  check_bias(call.bias, sizes);
  check_routing(routing, sizes.m, sizes.n);
  const RowGroupScales scales = row_group_scales(call.per_token_scale, call.scale, sizes);
  const std::optional<Integers> list = group_list_of(kOp, call.group_list);
  if (!list.has_value()) {
    return at::empty({routing.output_rows, sizes.n}, call.x.codes.options().dtype(at::kFloat));
  }
  const GroupSpans spans = checked_spans({kOp, *list, call.list_type}, sizes.groups, sizes.m);
  const at::Tensor bias = given(call.bias) ? *call.bias : at::Tensor{};
  return combined(product_by_rows({call.x, call.weight, scales, bias}, spans), routing, spans);
}

// A scale a column may have an axis of one for its groups of K: [groups, 1, n].
at::Tensor without_run_axis(const at::Tensor& scale) {
  return scale.dim() == 3 && scale.size(1) == 1 ? scale.squeeze(1) : scale;
}

at::Tensor grouped_matmul_finalize_routing(
    const at::Tensor& x, const at::Tensor& w, const at::Tensor& group_list,
    const MaybeTensor& scale, const MaybeTensor& bias, const MaybeTensor& offset,
    const MaybeTensor& pertoken_scale, const MaybeTensor& shared_input, const MaybeTensor& logit,
    const MaybeTensor& row_index, std::optional<at::ScalarType> dtype,
    std::optional<double> shared_input_weight, std::optional<std::int64_t> shared_input_offset,
    std::optional<std::int64_t> output_bs, std::optional<std::int64_t> group_list_type,
    [[maybe_unused]] at::OptionalIntArrayRef tuning_config, std::optional<std::int64_t> x_dtype,
    std::optional<std::int64_t> w_dtype, std::optional<std::int64_t> scale_dtype,
    std::optional<std::int64_t> pertoken_scale_dtype) {
  const std::int64_t list_type = group_list_type.value_or(kCounts);
  check_list_type(kOp, list_type, 2);
  TORCH_CHECK_VALUE(x.dim() == 2 && w.dim() == 3, kOp,
                    ": expected x of [m, k] and w of [groups, k, n], got ", x.sizes(), " and ",
                    w.sizes());
  TORCH_CHECK_VALUE(dtype.value_or(at::kFloat) == at::kFloat, kOp,
                    ": expected dtype of float32, got ", dtype.value_or(at::kFloat));
  TORCH_CHECK_VALUE(!given(offset), kOp,
                    ": expected no offset, which an Ascend 950 does not take, got one");
  TORCH_CHECK_VALUE(given(scale), kOp, ": expected scale, got None");
  const Coded rows = coded_operand({kOp, "x"}, x, x_dtype);
  const Matrices weight({kOp, "w"}, w, w_dtype, rows);
  check_multiplied(kOp, rows, weight.first());
  TORCH_CHECK_TYPE(weight.first().element == rows.element || holds_e8m0(*scale, scale_dtype), kOp,
                   ": expected x and w of one format, got ", x.scalar_type(), " and ",
                   w.scalar_type());
  const bool mx = holds_e8m0(*scale, scale_dtype);
  ScaleArgument tokens{.name = {kOp, "pertoken_scale"}, .tensor = {}};
  if (given(pertoken_scale)) {
    tokens.tensor = *pertoken_scale;
    tokens.mx = holds_e8m0(*pertoken_scale, pertoken_scale_dtype);
  }
  return finalized({.x = rows,
                    .weight = weight,
                    .scale = {.name = {kOp, "scale"}, .tensor = without_run_axis(*scale), .mx = mx},
                    .per_token_scale = tokens,
                    .bias = bias,
                    .group_list = group_list,
                    .list_type = list_type},
                   {.shared_input = shared_input,
                    .logit = logit,
                    .row_index = row_index,
                    .shared_input_weight = shared_input_weight.value_or(1.0),
                    .shared_input_offset = shared_input_offset.value_or(0),
                    .output_rows = output_bs.value_or(0) == 0 ? x.size(0) : *output_bs});
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&grouped_matmul_finalize_routing>(m, "npu_grouped_matmul_finalize_routing");
}

}  // namespace
}  // namespace npu_sim::ops
