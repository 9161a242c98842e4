#include "ops/matmul/grouped_forms.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <c10/util/Exception.h>

#include "ops/format/coded.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

bool is_wide(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16;
}

bool is_fp8(const Coded& operand) {
  return operand.element == Element::kE4m3 || operand.element == Element::kE5m2;
}
bool is_fp4(const Coded& operand) {
  return operand.element == Element::kE2m1 || operand.element == Element::kE1m2;
}
bool is(const Coded& operand, Element element) { return operand.element == element; }

// Pairs of coded operands that the card multiplies.
bool are_multiplied(const Coded& x, const Coded& weight) {
  if (is(x, Element::kInt8)) return is(weight, Element::kInt8) || is(weight, Element::kInt4);
  if (is_fp8(x)) return is_fp8(weight) || (is(x, Element::kE4m3) && is_fp4(weight));
  if (is(x, Element::kHifloat8)) return is(weight, Element::kHifloat8);
  return is_fp4(x) && is_fp4(weight);
}

const char* told(const Coded& operand) {
  if (!operand.element.has_value()) return c10::toString(operand.codes.scalar_type());
  switch (*operand.element) {
    case Element::kInt8: return "int8";
    case Element::kInt4: return "int4";
    case Element::kE4m3: return "float8_e4m3fn";
    case Element::kE5m2: return "float8_e5m2";
    case Element::kHifloat8: return "hifloat8";
    case Element::kE2m1: return "float4_e2m1fn_x2";
    case Element::kE1m2: return "float4_e1m2fn_x2";
  }
  return "";
}

ScaleArgument only_of(ArgumentName name, const Tensors& list, std::optional<std::int64_t> dtype) {
  if (!given(list)) return {.name = name, .tensor = {}};
  const at::Tensor& tensor = (*list)[0];
  return {.name = name, .tensor = tensor, .mx = holds_e8m0(tensor, dtype)};
}

// Elements of K that share one of `groups` scales.
std::int64_t run_of(ArgumentName name, std::int64_t k, std::int64_t groups) {
  TORCH_CHECK_VALUE(groups > 0 && k >= groups && k % groups == 0, name.op, ": expected ",
                    name.argument, " with groups that divide k of ", k, ", got ", groups);
  return k / groups;
}

}  // namespace

Coded coded_operand(ArgumentName name, const at::Tensor& tensor,
                    std::optional<std::int64_t> dtype) {
  const at::ScalarType own = tensor.scalar_type();
  if (!dtype.has_value() && is_wide(own)) return {.codes = tensor, .element = std::nullopt};
  const std::optional<Element> element = element_of(tensor, dtype);
  if (!element.has_value() && is_wide(own)) return {.codes = tensor, .element = std::nullopt};
  TORCH_CHECK_TYPE(element.has_value(), name.op, ": expected ", name.argument,
                   " of a floating dtype, int8, int4 in int32, or with a dtype argument that says "
                   "what its bytes are, got ",
                   own);
  const auto bytes = c10::elementSize(own);
  const bool fits = bytes == 1 || (bytes == 4 && compute::bits(*element) == 4);
  TORCH_CHECK_TYPE(fits, name.op, ": expected ", name.argument,
                   " of 8 bits, or of 32 for codes of 4, got ", own);
  return {.codes = tensor, .element = element};
}

Coded coded_weight(ArgumentName name, const at::Tensor& weight, std::optional<std::int64_t> dtype,
                   const Coded& x) {
  const bool packed = !dtype.has_value() && weight.scalar_type() == at::kFloat &&
                      x.codes.scalar_type() != at::kFloat;
  if (packed) return {.codes = weight, .element = Element::kE2m1};
  return coded_operand(name, weight, dtype);
}

void check_multiplied(const char* op, const Coded& x, const Coded& weight) {
  TORCH_CHECK_TYPE(are_multiplied(x, weight), op,
                   ": expected x and weight of int8 and int8 or int4, two of float8 or of float4, "
                   "float8_e4m3fn and float4, or hifloat8 and hifloat8, got ",
                   told(x), " and ", told(weight));
}

Matrices::Matrices(ArgumentName name, at::TensorList tensors, std::optional<std::int64_t> dtype,
                   const Coded& x) {
  for (const at::Tensor& each : tensors) {
    const bool fits = each.dim() == 2 || (each.dim() == 3 && tensors.size() == 1);
    TORCH_CHECK_VALUE(fits, name.op, ": expected one ", name.argument,
                      " of [groups, k, n] or a list of [k, n], got ", tensors.size(), " of ",
                      each.sizes());
    all_.push_back(coded_weight(name, each, dtype, x));
  }
  TORCH_CHECK_VALUE(!all_.empty() && groups() > 0, name.op, ": expected ", name.argument,
                    " of one group or more, got none");
}

std::int64_t Matrices::groups() const {
  return in_one_tensor() ? all_[0].codes.size(0) : static_cast<std::int64_t>(all_.size());
}

Coded Matrices::of(std::int64_t group) const {
  if (!in_one_tensor()) return all_[static_cast<std::size_t>(group)];
  return {.codes = all_[0].codes.select(0, group), .element = all_[0].element};
}

at::Tensor product_by_rows(const RowProduct& operands, const GroupSpans& spans) {
  const at::Tensor& x = operands.x.codes;
  return by_rows(spans, {x.size(0), operands.weight.size(-1)}, x.options().dtype(at::kFloat),
                 [&](const Span& span) {
                   const at::Tensor y =
                       scaled_product(narrowed(operands.x, 0, span), operands.weight.of(span.group),
                                      operands.scales.of(span));
                   return operands.bias.defined() ? y + widened(operands.bias.select(0, span.group))
                                                  : y;
                 });
}

namespace {

std::vector<Coded> coded_operands(const GroupedArguments& arguments) {
  std::vector<Coded> operands;
  for (const at::Tensor& each : arguments.x) {
    TORCH_CHECK_VALUE(each.dim() >= 2, arguments.op, ": expected x of [m, k], got ", each.sizes());
    operands.push_back(coded_operand({arguments.op, "x"}, each, arguments.x_dtype));
  }
  return operands;
}

}  // namespace

GroupedOperands::GroupedOperands(const GroupedArguments& arguments)
    : arguments_(arguments),
      x_(coded_operands(arguments)),
      weight_({arguments.op, "weight"}, arguments.weight, arguments.weight_dtype, x_[0]),
      form_(form_of()) {
  check_formats();
  check_lists();
  check_bias();
  set_scales();
}

bool GroupedOperands::is_int8() const {
  return is(x_[0], Element::kInt8) && is(weight_.first(), Element::kInt8);
}

at::Tensor GroupedOperands::of_group(const Tensors& list, std::int64_t group) const {
  if (!given(list)) return {};
  return weight_.in_one_tensor() ? (*list)[0].select(0, group)
                                 : (*list)[static_cast<std::size_t>(group)];
}

GroupedSizes GroupedOperands::sizes() const {
  return {.groups = groups(), .m = x_[0].codes.size(0), .n = columns(0), .k = weight_.size(-2)};
}

GroupedForm GroupedOperands::form_of() const {
  if (!x_[0].element.has_value()) {
    return weight_.first().element.has_value() ? GroupedForm::kWeight : GroupedForm::kWide;
  }
  if (!is(weight_.first(), Element::kInt4)) return GroupedForm::kScaled;
  return given(arguments_.antiquant_scale) ? GroupedForm::kRefined : GroupedForm::kShifted;
}

void GroupedOperands::check_formats() const {
  for (const Coded& each : x_) {
    const Coded& weight = weight_.first();
    if (form_ == GroupedForm::kWide) {
      TORCH_CHECK_TYPE(is_wide(each.codes.scalar_type()) &&
                           each.codes.scalar_type() == weight.codes.scalar_type(),
                       op(), ": expected x and weight of one dtype of 16 or 32 bits, got ",
                       told(each), " and ", told(weight));
      continue;
    }
    if (form_ == GroupedForm::kWeight) {
      TORCH_CHECK_TYPE(each.codes.scalar_type() != at::kFloat, op(),
                       ": expected x of float16 or bfloat16 with a weight of ", told(weight),
                       ", got ", told(each));
      continue;
    }
    check_multiplied(op(), each, weight);
  }
}

void GroupedOperands::check_one_tensor_each() const {
  TORCH_CHECK_VALUE(x_.size() == 1 && weight_.in_one_tensor() && x_[0].codes.dim() == 2, op(),
                    ": expected one x of [m, k] and one weight of [groups, k, n] of codes, got ",
                    x_.size(), " of ", x_[0].codes.sizes(), " and ", arguments_.weight.size(),
                    " of ", weight_.first().codes.sizes());
}

void GroupedOperands::check_lists() const {
  const struct {
    const char* name;
    const Tensors& list;
    bool wanted;
  } lists[] = {
      {"bias", arguments_.bias, true},
      {"scale", arguments_.scale, x_[0].element.has_value()},
      {"antiquant_scale", arguments_.antiquant_scale, weight_.first().element.has_value()},
      {"antiquant_offset", arguments_.antiquant_offset, form_ == GroupedForm::kWeight},
      {"per_token_scale", arguments_.per_token_scale, x_[0].element.has_value()},
  };
  for (const auto& [name, list, wanted] : lists) {
    if (!given(list)) continue;
    TORCH_CHECK_VALUE(wanted, op(), ": expected no ", name, " with x and weight of ", told(x_[0]),
                      " and ", told(weight_.first()), ", got one");
    TORCH_CHECK_VALUE(list->size() == arguments_.weight.size(), op(), ": expected as many ", name,
                      " as weight tensors, ", arguments_.weight.size(), ", got ", list->size());
    const bool by_group = !weight_.in_one_tensor() || &list == &arguments_.per_token_scale ||
                          ((*list)[0].dim() >= 1 && (*list)[0].size(0) == groups());
    TORCH_CHECK_VALUE(by_group, op(), ": expected ", name, " of [", groups(),
                      ", ..], one a group, got ", (*list)[0].sizes());
  }
}

void GroupedOperands::check_bias() const {
  if (!given(arguments_.bias)) {
    TORCH_CHECK_VALUE(form_ != GroupedForm::kShifted, op(),
                      ": expected bias of 8 * sum over k of (weight * scale) for int8 by int4 "
                      "without antiquant_scale, got None");
    return;
  }
  const bool is_8_bits =
      (is_fp8(x_[0]) && is_fp8(weight_.first())) || is(x_[0], Element::kHifloat8);
  TORCH_CHECK_VALUE(!is_8_bits, op(), ": expected no bias with x and weight of ", told(x_[0]),
                    " and ", told(weight_.first()), ", got one");
  for (std::int64_t group = 0; group < groups(); ++group) {
    const at::Tensor bias = of_group(arguments_.bias, group);
    const bool fits_type =
        is_wide(bias.scalar_type()) || (bias.scalar_type() == at::kInt && is_int8());
    TORCH_CHECK_TYPE(fits_type, op(), ": expected floating bias",
                     is_int8() ? " or one of int32" : "", ", got ", bias.scalar_type());
    TORCH_CHECK_VALUE(bias.sizes() == at::IntArrayRef({columns(group)}), op(),
                      ": expected bias of [", columns(group), "] a group, got ", bias.sizes());
  }
}

void GroupedOperands::set_scales() {
  if (!x_[0].element.has_value()) {
    TORCH_CHECK_VALUE(form_ == GroupedForm::kWide || given(arguments_.antiquant_scale), op(),
                      ": expected antiquant_scale with a weight of ", told(weight_.first()),
                      ", got None");
    return;
  }
  check_one_tensor_each();
  TORCH_CHECK_VALUE(!is_fp4(x_[0]) || sizes().k != 2, op(),
                    ": expected k other than 2 for float4, got 2");
  const ScaleArgument tokens = only_of({op(), "per_token_scale"}, arguments_.per_token_scale,
                                       arguments_.per_token_scale_dtype);
  ScaleArgument columns = only_of({op(), "scale"}, arguments_.scale, arguments_.scale_dtype);
  const bool mixed = is_fp8(x_[0]) && is_fp4(weight_.first());
  if (mixed) {
    columns = only_of({op(), "antiquant_scale"}, arguments_.antiquant_scale, std::nullopt);
    columns.mx = columns.tensor.defined() && c10::elementSize(columns.tensor.scalar_type()) == 1;
  }
  TORCH_CHECK_VALUE(columns.tensor.defined(), op(), ": expected ", columns.name.argument,
                    " with x and weight of ", told(x_[0]), " and ", told(weight_.first()),
                    ", got None");
  TORCH_CHECK_TYPE(columns.mx || !is_fp4(weight_.first()), op(), ": expected ",
                   columns.name.argument, " of float8_e8m0fnu with a weight of float4, got ",
                   columns.tensor.scalar_type());
  TORCH_CHECK_TYPE(!columns.mx || is_fp8(x_[0]) || is_fp4(x_[0]), op(), ": expected ",
                   columns.name.argument, " of float32 with x of ", told(x_[0]),
                   ", got float8_e8m0fnu");
  if (form_ == GroupedForm::kShifted) columns.tensor = at::Tensor();  // groups of K of its own
  scales_ = row_group_scales(tokens, columns, sizes());
  TORCH_CHECK_VALUE(!is(x_[0], Element::kInt8) || scales_.group == 0, op(),
                    ": expected scale of [groups, n] or [groups] with int8, got one of blocks");
  TORCH_CHECK_VALUE(!is(x_[0], Element::kInt8) || scales_.a_by_row, op(),
                    ": expected per_token_scale of [", sizes().m, "], one a row, with int8, got ",
                    tokens.tensor.defined() ? tokens.tensor.sizes() : at::IntArrayRef{});
}

// The card's cube multiplies by the weights in the dtype of x.
at::Tensor GroupedOperands::antiquantised_weight(const Span& span, at::ScalarType dtype) const {
  const Coded weight = weight_.of(span.group);
  const ArgumentName name{op(), "antiquant_scale"};
  at::Tensor scale = of_group(arguments_.antiquant_scale, span.group);
  const at::Tensor offset = of_group(arguments_.antiquant_offset, span.group);
  const std::int64_t k = numbers_along(weight, -2);
  const std::int64_t n = numbers_along(weight, -1);
  std::int64_t run = 0;
  if (c10::elementSize(scale.scalar_type()) == 1) {
    run = kMxGroup;
    scale = scale.dim() == 3 ? mx_factors_of_columns(name, scale, k, n) : decoded_e8m0(scale);
    TORCH_CHECK_VALUE(scale.sizes() == at::IntArrayRef({(k + run - 1) / run, n}), op(),
                      ": expected antiquant_scale of [", (k + run - 1) / run, ", ", n,
                      "] a group, got ", scale.sizes());
  } else {
    const bool by_run = scale.dim() == 2;
    const bool fits = (scale.dim() == 1 || by_run) && scale.size(-1) == n;
    TORCH_CHECK_VALUE(fits, op(), ": expected antiquant_scale of [", n, "] or [runs of k, ", n,
                      "] a group, got ", scale.sizes());
    if (by_run) run = run_of(name, k, scale.size(0));
  }
  TORCH_CHECK_VALUE(!offset.defined() || offset.sizes() == scale.sizes(), op(),
                    ": expected antiquant_offset of ", scale.sizes(), " a group, got ",
                    offset.defined() ? offset.sizes() : at::IntArrayRef{});
  return antiquantised(weight, scale, offset, run).to(dtype).to(at::kFloat);
}

at::Tensor GroupedOperands::scaled(const Coded& rows, const Span& span) const {
  const at::Tensor bias = of_group(arguments_.bias, span.group);
  const bool before = bias.defined() && bias.scalar_type() == at::kInt;
  const at::Tensor y =
      scaled_product(rows, weight_.of(span.group), scales_.of(span), before ? bias : at::Tensor{});
  return bias.defined() && !before ? y + widened(bias) : y;
}

// A scale a run of K in 16 bits, refined by one a column.
at::Tensor GroupedOperands::refined(const Coded& rows, const Span& span) const {
  const Coded weight = weight_.of(span.group);
  const at::Tensor fine = of_group(arguments_.antiquant_scale, span.group).to(at::kFloat);
  const bool fits = fine.dim() == 2 && fine.size(1) == columns(span.group);
  TORCH_CHECK_VALUE(fits, op(), ": expected antiquant_scale of [runs of k, ", columns(span.group),
                    "] a group, got ", fine.sizes());
  const std::int64_t run =
      run_of({op(), "antiquant_scale"}, numbers_along(weight, -2), fine.size(0));
  at::Tensor y = scaled_product(rows, weight, {.b = fine, .group = run});
  const Scales outer = scales_.of(span);
  if (outer.b.defined()) y = y.mul_(outer.b);
  if (outer.a.defined()) y = y.mul_(outer.a);
  const at::Tensor bias = of_group(arguments_.bias, span.group);
  return bias.defined() ? y + widened(bias) : y;
}

at::Tensor GroupedOperands::shifted(const Coded& rows, const Span& span) const {
  const Coded weight = weight_.of(span.group);
  at::Tensor scale = unpacked_scale(of_group(arguments_.scale, span.group));
  if (scale.dim() == 1) scale = scale.unsqueeze(0);
  const bool fits = scale.dim() == 2 && scale.size(1) == columns(span.group);
  TORCH_CHECK_VALUE(fits, op(), ": expected scale of [runs of k, ", columns(span.group),
                    "] a group, got ", scale.sizes());
  const std::int64_t run = run_of({op(), "scale"}, numbers_along(weight, -2), scale.size(0));
  constexpr double kShift = 8;
  const at::Tensor left_out = antiquantised(weight, scale, {}, run).sum(0) * kShift;
  const at::Tensor bias = widened(of_group(arguments_.bias, span.group)) - left_out;
  const at::Tensor y = scaled_product(rows, weight, {.b = scale, .group = run}) + bias;
  const Scales tokens = scales_.of(span);
  return tokens.a.defined() ? y * tokens.a : y;
}

at::Tensor GroupedOperands::product(const Coded& rows, const Span& span) const {
  const Coded weight = weight_.of(span.group);
  TORCH_CHECK_VALUE(numbers_along(rows, -1) == numbers_along(weight, -2), op(),
                    ": expected x of [m, k] and weight of [k, n] in group ", span.group, ", got ",
                    rows.codes.sizes(), " and ", weight.codes.sizes());
  switch (form_) {
    case GroupedForm::kScaled: return scaled(rows, span);
    case GroupedForm::kRefined: return refined(rows, span);
    case GroupedForm::kShifted: return shifted(rows, span);
    case GroupedForm::kWide:
    case GroupedForm::kWeight: break;
  }
  const at::Tensor right = form_ == GroupedForm::kWide
                               ? widened(weight.codes)
                               : antiquantised_weight(span, rows.codes.scalar_type());
  const at::Tensor bias = of_group(arguments_.bias, span.group);
  const at::Tensor y = at::matmul(widened(rows.codes), right);
  return bias.defined() ? y + widened(bias) : y;
}

}  // namespace npu_sim::ops
