// npu_grouped_matmul: each group of rows (or of the summed axis) by a matrix of its own.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "ops/host_kernel.h"
#include "ops/matmul/grouped_forms.h"
#include "ops/matmul/grouped_work.h"
#include "ops/matmul/product_work.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_grouped_matmul";
constexpr std::int64_t kNoSplit = -1;
constexpr std::int64_t kSplitRows = 0;
constexpr std::int64_t kSplitK = 2;

// --- work
// Operands and formats of a call; sizes of groups apart.
GroupedProduct product_of(const aten::Call& call, at::TensorList xs, at::TensorList weights) {
  constexpr std::size_t kScale = 3;
  constexpr std::size_t kAntiquantScale = 5;
  constexpr std::size_t kPerTokenScale = 7;
  const Coded x = coded_operand({kOp, "x"}, xs[0], dtype_at(call, 18));
  const Matrices weight({kOp, "weight"}, weights, dtype_at(call, 19), x);
  const at::Tensor& fine = aten::tensor_at(call, kAntiquantScale);
  const bool scaled_by_e8m0 = holds_e8m0(aten::tensor_at(call, kScale), dtype_at(call, 20)) ||
                              (fine.defined() && fine.element_size() == 1);
  return {
      .groups = weight.groups(),
      .rows = aten::ratio(xs[0].numel(), aten::size_along(xs[0], -1)),
      .n = weight.size(-1),
      .k = numbers_along(x, -1),
      .a = product_format(x, holds_e8m0(aten::tensor_at(call, kPerTokenScale), dtype_at(call, 21))),
      .b = product_format(weight.first(), scaled_by_e8m0),
      .out = aten::format_of(aten::output_of(call))};
}

// Each x is a group of its own.
GroupSpans spans_of_tensors(at::TensorList xs) {
  GroupSpans spans;
  for (const at::Tensor& x : xs) {
    spans.push_back({.group = static_cast<std::int64_t>(spans.size()),
                     .size = aten::ratio(x.numel(), aten::size_along(x, -1))});
  }
  return spans;
}

model::Work grouped_matmul_work(const aten::Call& call) {
  constexpr std::size_t kGroupList = 8;
  constexpr std::size_t kGroupType = 13;
  constexpr std::size_t kListType = 14;
  const std::vector<at::Tensor> xs = call.arguments[0].toTensorVector();
  const std::vector<at::Tensor> weights = call.arguments[1].toTensorVector();
  GroupedProduct product = product_of(call, xs, weights);
  if (xs.size() > 1) {
    product.spans = spans_of_tensors(xs);
    return work_by_rows(product);
  }
  const auto list = aten::integers_at(call, kGroupList);
  if (list.has_value()) product.spans = spans_of(*list, aten::integer_at(call, kListType, 0));
  if (aten::integer_at(call, kGroupType, kNoSplit) != kSplitK) return work_by_rows(product);
  product.groups = aten::size_along(aten::output_of(call), 0);
  return work_by_k(product);
}

constexpr aten::Entry kEntries[] = {{"npu_grouped_matmul", grouped_matmul_work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// What is common to both overloads.
struct Grouped {
  GroupedArguments tensors;
  std::optional<Integers> list = std::nullopt;  // nullopt: not given, or a meta tensor
  bool has_list = false;
  std::int64_t list_length = 0;
  std::int64_t split_item = 0;
  std::int64_t group_type = kNoSplit;
  std::int64_t list_type = kRunningSums;
  std::int64_t act_type = 0;
  at::ScalarType out = at::kFloat;

  [[nodiscard]] bool one_result() const { return split_item >= 2; }
  [[nodiscard]] at::TensorOptions options() const { return tensors.x[0].options().dtype(out); }
};

enum Activation : std::int64_t { kNone, kRelu, kGeluTanh, kGeluErf, kFastGelu, kSilu };

at::Tensor activated(const at::Tensor& y, std::int64_t type) {
  constexpr double kFastSlope = 1.702;  // as npu_fast_gelu
  switch (type) {
    case kRelu: return at::relu(y);
    case kGeluTanh: return at::gelu(y, "tanh");
    case kFastGelu: return y * at::sigmoid(y * kFastSlope);
    case kSilu: return at::silu(y);
    default: return y;
  }
}

at::Tensor product(const Grouped& call, const GroupedOperands& operands, const Coded& rows,
                   const Span& span) {
  return activated(operands.product(rows, span), call.act_type).to(call.out);
}

std::vector<at::Tensor> one_each(const Grouped& call, const GroupedOperands& operands) {
  TORCH_CHECK_VALUE(static_cast<std::int64_t>(operands.x().size()) == operands.groups(), kOp,
                    ": expected as many x as groups in weight, got ", operands.x().size(), " and ",
                    operands.groups());
  std::vector<at::Tensor> results;
  Span span;
  for (const Coded& each : operands.x()) {
    span.size = each.codes.size(0);
    results.push_back(product(call, operands, each, span));
    ++span.group;
  }
  if (call.one_result()) return {at::cat(results)};
  return results;
}

std::vector<at::Tensor> split_rows(const Grouped& call, const GroupedOperands& operands) {
  const Coded& x = operands.x()[0];
  TORCH_CHECK_VALUE(x.codes.dim() == 2, kOp, ": expected x of [m, k] for group_type 0, got ",
                    x.codes.sizes());
  TORCH_CHECK_VALUE(call.has_list, kOp,
                    ": expected group_list where x is one tensor of several groups, got none");
  TORCH_CHECK_VALUE(call.one_result() || call.list_type != kPairs, kOp,
                    ": expected split_item of 2 or 3 for group_list_type 2, got ", call.split_item);
  const std::int64_t m = x.codes.size(0);
  const std::vector<std::int64_t> shape{m, operands.columns(0)};
  if (!call.list.has_value()) {
    TORCH_CHECK_NOT_IMPLEMENTED(call.one_result(), kOp, ": the shapes of split_item ",
                                call.split_item, " follow from values, which meta tensors lack");
    static_cast<void>(product(call, operands, x, {.size = m}));  // checks the operands
    return {at::empty(shape, call.options())};
  }
  const GroupSpans spans = checked_spans({kOp, *call.list, call.list_type}, operands.groups(), m);
  const auto of_span = [&](const Span& span) {
    return product(call, operands, narrowed(x, 0, span), span);
  };
  if (call.one_result()) return {by_rows(spans, shape, call.options(), of_span)};
  std::vector<at::Tensor> parts;
  for (const Span& span : spans) parts.push_back(of_span(span));
  return parts;
}

void check_k_operands(const Grouped& call, const Coded& x, const Coded& weight) {
  TORCH_CHECK_VALUE(call.tensors.x.size() == 1 && call.tensors.weight.size() == 1, kOp,
                    ": expected one x and one weight for group_type 2, got ", call.tensors.x.size(),
                    " and ", call.tensors.weight.size());
  TORCH_CHECK_VALUE(
      x.codes.dim() == 2 && weight.codes.dim() == 2 && x.codes.size(1) == weight.codes.size(0), kOp,
      ": expected x of [m, k] and weight of [k, n] for group_type 2, got ", x.codes.sizes(),
      " and ", weight.codes.sizes());
  TORCH_CHECK_VALUE(call.one_result(), kOp, ": expected split_item of 2 or 3 for group_type 2, ",
                    "got ", call.split_item);
  TORCH_CHECK_VALUE(!given(call.tensors.bias), kOp, ": expected no bias for group_type 2, got one");
  TORCH_CHECK_VALUE(!given(call.tensors.antiquant_scale), kOp,
                    ": expected no antiquant_scale for group_type 2, got one");
  TORCH_CHECK_VALUE(call.has_list, kOp, ": expected group_list for group_type 2, got none");
  TORCH_CHECK_VALUE(call.list_type != kPairs, kOp,
                    ": expected group_list_type 0 or 1 for group_type 2, got 2");
}

void check_k_formats(const Coded& x, const Coded& weight) {
  const auto is_8_bits = [](const Coded& operand) {
    return operand.element.has_value() && compute::bits(*operand.element) == 8 &&
           !is_integer(*operand.element);
  };
  const bool both_wide = !x.element.has_value() && !weight.element.has_value() &&
                         x.codes.scalar_type() == weight.codes.scalar_type();
  TORCH_CHECK_TYPE(both_wide || (is_8_bits(x) && is_8_bits(weight)), kOp,
                   ": expected x and weight of one dtype of 16 or 32 bits, float8 or hifloat8 for "
                   "group_type 2, got ",
                   x.codes.scalar_type(), " and ", weight.codes.scalar_type());
}

KGroupScales k_scales_of(const Grouped& call, const GroupedSizes& sizes) {
  const GroupedArguments& tensors = call.tensors;
  const auto argument = [](const char* name, const Tensors& list,
                           std::optional<std::int64_t> dtype) -> ScaleArgument {
    if (!given(list)) return {.name = {.op = kOp, .argument = name}, .tensor = {}};
    return {.name = {.op = kOp, .argument = name},
            .tensor = (*list)[0],
            .mx = holds_e8m0((*list)[0], dtype)};
  };
  return k_group_scales(
      argument("per_token_scale", tensors.per_token_scale, tensors.per_token_scale_dtype),
      argument("scale", tensors.scale, tensors.scale_dtype), sizes);
}

// x of [m, k] and weight of [k, n] are split along k: a gradient of the weights of all groups.
std::vector<at::Tensor> split_k(const Grouped& call) {
  const Coded x = coded_operand({kOp, "x"}, call.tensors.x[0], call.tensors.x_dtype);
  const Coded weight =
      coded_operand({kOp, "weight"}, call.tensors.weight[0], call.tensors.weight_dtype);
  check_k_operands(call, x, weight);
  check_k_formats(x, weight);
  TORCH_CHECK_VALUE(x.element.has_value() == given(call.tensors.scale), kOp,
                    ": expected scale with operands of 8 bits, and only with them");
  const GroupedSizes sizes{.groups = call.list_length,
                           .m = x.codes.size(0),
                           .n = weight.codes.size(1),
                           .k = x.codes.size(1)};
  const KGroupScales scales = k_scales_of(call, sizes);
  const std::vector<std::int64_t> shape{sizes.groups, sizes.m, sizes.n};
  if (!call.list.has_value()) return {at::empty(shape, call.options())};
  const at::Tensor sums = at::zeros(shape, call.options());
  for (const Span& span : checked_spans({kOp, *call.list, call.list_type}, sizes.groups, sizes.k)) {
    if (span.size == 0) continue;
    sums.select(0, span.group)
        .copy_(scaled_product(narrowed(x, 1, span), narrowed(weight, 0, span), scales.of(span)));
  }
  return {sums};
}

// --- op
void check_activation(const Grouped& call, bool is_int8) {
  const std::int64_t type = call.act_type;
  const bool known = type >= kNone && type <= kSilu && type != kGeluErf;
  TORCH_CHECK_VALUE(known, kOp,
                    ": expected act_type of 0 (none), 1 (relu), 2 (gelu_tanh), 4 (fast_gelu) or 5 "
                    "(silu), got ",
                    type);
  TORCH_CHECK_VALUE(type == kNone || is_int8, kOp, ": expected act_type ", type,
                    " only with x and weight of int8");
}

// Outputs of a call with codes must be asked for: the dtype of x is none that the card answers.
void check_output(const Grouped& call) {
  TORCH_CHECK_VALUE(call.out == at::kFloat || call.out == at::kHalf || call.out == at::kBFloat16,
                    kOp, ": expected output_dtype of float32, float16 or bfloat16, got ", call.out);
}

std::vector<at::Tensor> computed(const Grouped& call) {
  TORCH_CHECK_VALUE(call.split_item >= 0 && call.split_item <= 3, kOp,
                    ": expected split_item from 0 to 3, got ", call.split_item);
  check_list_type(kOp, call.list_type, 3);
  TORCH_CHECK_VALUE(
      call.group_type == kNoSplit || call.group_type == kSplitRows || call.group_type == kSplitK,
      kOp, ": expected group_type of -1 (none), 0 (rows) or 2 (k), got ", call.group_type);
  TORCH_CHECK_VALUE(!call.tensors.x.empty() && !call.tensors.weight.empty(), kOp,
                    ": expected at least one x and one weight, got ", call.tensors.x.size(),
                    " and ", call.tensors.weight.size());
  if (call.group_type == kSplitK) {
    check_activation(call, false);
    check_output(call);
    return split_k(call);
  }
  const GroupedOperands operands(call.tensors);
  check_activation(call, operands.is_int8());
  check_output(call);
  const bool split = operands.x().size() == 1 && (operands.groups() > 1 || call.has_list);
  return split ? split_rows(call, operands) : one_each(call, operands);
}

at::ScalarType dtype_of(at::TensorList x) { return x.empty() ? at::kFloat : x[0].scalar_type(); }

at::ScalarType result_dtype(at::TensorList x, std::optional<std::int64_t> dtype) {
  if (!dtype.has_value()) return dtype_of(x);
  // Codes of torch_npu's own formats are beyond those of torch; check_output refuses them.
  const bool known = *dtype >= 0 && *dtype < static_cast<std::int64_t>(at::ScalarType::Undefined);
  return known ? static_cast<at::ScalarType>(*dtype) : at::ScalarType::Undefined;
}

// Arguments that the card of today takes only as None.
struct Reserved {
  const Tensors& offset;
  const Tensors& activation_input;
  const Tensors& activation_quant_scale;
  const Tensors& activation_quant_offset;
};

void refuse(const Reserved& reserved) {
  const auto check = [](const Tensors& tensors, const char* argument) {
    TORCH_CHECK_VALUE(!given(tensors), kOp, ": expected no ", argument,
                      ", which an Ascend 950 does not take, got one");
  };
  check(reserved.offset, "offset");
  check(reserved.activation_input, "activation_input");
  check(reserved.activation_quant_scale, "activation_quant_scale");
  check(reserved.activation_quant_offset, "activation_quant_offset");
}

std::vector<at::Tensor> grouped_matmul(
    at::TensorList x, at::TensorList weight, Tensors bias, Tensors scale, Tensors offset,
    Tensors antiquant_scale, Tensors antiquant_offset, Tensors per_token_scale,
    const std::optional<at::Tensor>& group_list, Tensors activation_input,
    Tensors activation_quant_scale, Tensors activation_quant_offset,
    std::optional<std::int64_t> split_item, std::optional<std::int64_t> group_type,
    std::optional<std::int64_t> group_list_type, std::optional<std::int64_t> act_type,
    [[maybe_unused]] at::OptionalIntArrayRef tuning_config,
    std::optional<std::int64_t> output_dtype, std::optional<std::int64_t> x_dtype,
    std::optional<std::int64_t> weight_dtype, std::optional<std::int64_t> scale_dtype,
    std::optional<std::int64_t> per_token_scale_dtype) {
  TORCH_CHECK_VALUE(group_type.has_value(), kOp,
                    ": expected group_type of -1 (none), 0 (rows) or 2 (k), got None");
  refuse({offset, activation_input, activation_quant_scale, activation_quant_offset});
  const bool has_list = given(group_list);
  return computed({.tensors = {.op = kOp,
                               .x = x,
                               .weight = weight,
                               .bias = bias,
                               .scale = scale,
                               .antiquant_scale = antiquant_scale,
                               .antiquant_offset = antiquant_offset,
                               .per_token_scale = per_token_scale,
                               .x_dtype = x_dtype,
                               .weight_dtype = weight_dtype,
                               .scale_dtype = scale_dtype,
                               .per_token_scale_dtype = per_token_scale_dtype},
                   .list = has_list ? group_list_of(kOp, *group_list) : std::nullopt,
                   .has_list = has_list,
                   .list_length = has_list ? aten::size_along(*group_list, 0) : 0,
                   .split_item = split_item.value_or(0),
                   .group_type = *group_type,
                   .list_type = group_list_type.value_or(kRunningSums),
                   .act_type = act_type.value_or(kNone),
                   .out = result_dtype(x, output_dtype)});
}

// The older form: the list holds running sums and lies on the host; rows alone are split.
std::vector<at::Tensor> grouped_matmul_list(
    at::TensorList x, at::TensorList weight, Tensors bias, Tensors scale, Tensors offset,
    Tensors antiquant_scale, Tensors antiquant_offset, Tensors per_token_scale,
    at::OptionalIntArrayRef group_list, Tensors activation_input, Tensors activation_quant_scale,
    Tensors activation_quant_offset, std::optional<std::int64_t> split_item,
    std::optional<std::int64_t> group_type, std::optional<std::int64_t> group_list_type,
    std::optional<std::int64_t> act_type, std::optional<at::ScalarType> output_dtype) {
  refuse({offset, activation_input, activation_quant_scale, activation_quant_offset});
  TORCH_CHECK_VALUE(!given(per_token_scale) && group_type.value_or(kSplitRows) == kSplitRows &&
                        group_list_type.value_or(kRunningSums) == kRunningSums &&
                        act_type.value_or(kNone) == kNone,
                    kOp,
                    ": expected no per_token_scale, group_type, group_list_type or act_type where "
                    "group_list is a list of ints; pass a tensor");
  const bool has_list = group_list.has_value() && !group_list->empty();
  return computed({.tensors = {.op = kOp,
                               .x = x,
                               .weight = weight,
                               .bias = bias,
                               .scale = scale,
                               .antiquant_scale = antiquant_scale,
                               .antiquant_offset = antiquant_offset},
                   .list = has_list ? std::optional(group_list->vec()) : std::nullopt,
                   .has_list = has_list,
                   .split_item = split_item.value_or(0),
                   .group_type = kSplitRows,
                   .out = output_dtype.value_or(dtype_of(x))});
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&grouped_matmul>(m, "npu_grouped_matmul");
  composed_kernel<&grouped_matmul_list>(m, "npu_grouped_matmul.List");
}

}  // namespace
}  // namespace npu_sim::ops
