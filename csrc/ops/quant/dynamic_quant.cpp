// npu_dynamic_quant and npu_dynamic_quant_asymmetric: a scale (and an offset) a token, a channel or
// the whole tensor, from the values themselves.
#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/where.h>

#include "aten/describe/registry.h"
#include "ops/format/coded.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/groups.h"
#include "ops/quant/quantized.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
// --- work: load, convert, abs, largest; load, convert, scale, round, two converts, store. The
// asymmetric form also takes the smallest and adds the offset.
constexpr aten::Entry kEntries[] = {
    {"npu_dynamic_quant", quantized_rows<13>},
    {"npu_dynamic_quant_asymmetric", quantized_rows<15>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
struct Arguments {
  const char* op;
  const at::Tensor& input;
  const MaybeTensor& smooth_scales;
  const MaybeTensor& group_index;
  c10::string_view quant_mode;
};

void check_groups(const Arguments& arguments) {
  const at::Tensor& smooth = *arguments.smooth_scales;
  const at::Tensor& ends = *arguments.group_index;
  TORCH_CHECK_TYPE(ends.scalar_type() == at::kInt || ends.scalar_type() == at::kLong, arguments.op,
                   ": expected group_index of int32, got ", ends.scalar_type());
  const bool fits = smooth.dim() == 2 && ends.dim() == 1 && smooth.size(0) == ends.size(0) &&
                    smooth.size(1) == arguments.input.size(-1);
  TORCH_CHECK_VALUE(fits, arguments.op, ": expected smooth_scales of [groups, ",
                    arguments.input.size(-1), "] and group_index of [groups], got ", smooth.sizes(),
                    " and ", ends.sizes());
}

// Rows behind all groups stay as they are.
at::Tensor smoothed_by_group(const at::Tensor& values, const Arguments& arguments) {
  check_groups(arguments);
  const at::Tensor& smooth = *arguments.smooth_scales;
  const at::Tensor rows = values.reshape({-1, values.size(-1)});
  const RowGroups groups = row_groups({.op = arguments.op, .argument = "group_index"},
                                      *arguments.group_index, GroupList::kEnds, rows.size(0));
  return (rows * by_row(widened(smooth), groups, rows.size(0), 1)).view(values.sizes());
}

// The input in fp32, multiplied by its smooth scales.
at::Tensor smoothed(const Arguments& arguments) {
  const at::Tensor values = arguments.input.to(at::kFloat);
  TORCH_CHECK_VALUE(given(arguments.smooth_scales) || !given(arguments.group_index), arguments.op,
                    ": expected smooth_scales, which group_index divides into groups, got None");
  if (!given(arguments.smooth_scales)) return values;
  const at::Tensor& smooth = *arguments.smooth_scales;
  TORCH_CHECK_TYPE(smooth.is_floating_point(), arguments.op,
                   ": expected floating smooth_scales, got ", smooth.scalar_type());
  if (given(arguments.group_index)) return smoothed_by_group(values, arguments);
  // A channel's scale is taken over tokens, so there a factor belongs to a token.
  const bool by_channel = arguments.quant_mode == "perchannel";
  const std::int64_t expected = values.size(by_channel ? -2 : -1);
  TORCH_CHECK_VALUE(smooth.numel() == expected, arguments.op, ": expected smooth_scales of [",
                    expected, "], got ", smooth.sizes());
  const at::Tensor factors = by_channel ? smooth.reshape({-1, 1}) : smooth.reshape({-1});
  return values * widened(factors);
}

// The axes whose elements share a scale.
std::vector<std::int64_t> reduced_axes(const Arguments& arguments) {
  if (arguments.quant_mode == "pertoken") return {arguments.input.dim() - 1};
  if (arguments.quant_mode == "perchannel") return {arguments.input.dim() - 2};
  TORCH_CHECK_VALUE(arguments.quant_mode == "pertensor", arguments.op,
                    ": expected quant_mode pertoken, perchannel or pertensor, got '",
                    arguments.quant_mode, "'");
  std::vector<std::int64_t> axes;
  for (std::int64_t axis = 0; axis < arguments.input.dim(); ++axis) axes.push_back(axis);
  return axes;
}

Target target_of(const Arguments& arguments, std::optional<std::int64_t> dst_type,
                 double dst_type_max) {
  const Element element =
      require_element({.op = arguments.op, .argument = "dst_type"}, dst_type.value_or(1));
  TORCH_CHECK_VALUE(element != Element::kE2m1 && element != Element::kE1m2, arguments.op,
                    ": expected dst_type of int8, int4, fp8 or hifloat8, got ", *dst_type,
                    "; npu_dynamic_mx_quant makes fp4");
  TORCH_CHECK_VALUE(dst_type_max >= 0, arguments.op,
                    ": expected dst_type_max above 0, or 0 for the format's own, got ",
                    dst_type_max);
  return {.element = element, .largest = dst_type_max, .rounding = cast_rounding(element)};
}

void check_input(const Arguments& arguments) {
  const at::Tensor& input = arguments.input;
  TORCH_CHECK_TYPE(input.is_floating_point() && input.scalar_type() != at::kDouble, arguments.op,
                   ": expected input of float16 or bfloat16, got ", input.scalar_type());
  TORCH_CHECK_VALUE(input.dim() > 1, arguments.op, ": expected input of two axes or more, got ",
                    input.sizes());
  for (const std::int64_t axis : reduced_axes(arguments)) {
    TORCH_CHECK_VALUE(input.size(axis) > 0, arguments.op,
                      ": expected elements along the axes that share a scale, got input of ",
                      input.sizes());
  }
}

// The shape of scales and offsets: without the axes that share one, [1] for a whole tensor.
at::Tensor as_returned(const at::Tensor& kept, const Arguments& arguments) {
  if (arguments.quant_mode == "pertensor") return kept.reshape({1});
  return kept.squeeze(reduced_axes(arguments).front());
}

std::tuple<at::Tensor, at::Tensor> dynamic_quant(const at::Tensor& input,
                                                 const MaybeTensor& smooth_scales,
                                                 const MaybeTensor& group_index,
                                                 std::optional<std::int64_t> dst_type,
                                                 c10::string_view quant_mode, double dst_type_max) {
  const Arguments arguments{"npu_dynamic_quant", input, smooth_scales, group_index, quant_mode};
  check_input(arguments);
  const Target target = target_of(arguments, dst_type, dst_type_max);
  const at::Tensor values = smoothed(arguments);
  const at::Tensor scale = values.abs().amax(reduced_axes(arguments), true) / largest_of(target);
  return {codes_of(arguments.op, values, scale, target), as_returned(scale, arguments)};
}

// The least value that `target` maps to: integers have one more below zero.
double least_of(const Target& target) {
  const bool integer = target.element == Element::kInt8 || target.element == Element::kInt4;
  return -largest_of(target) - (integer ? 1 : 0);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> dynamic_quant_asymmetric(
    const at::Tensor& input, const MaybeTensor& smooth_scales, const MaybeTensor& group_index,
    std::optional<std::int64_t> dst_type, c10::string_view quant_mode, double dst_type_max) {
  const Arguments arguments{"npu_dynamic_quant_asymmetric", input, smooth_scales, group_index,
                            quant_mode};
  check_input(arguments);
  const Target target = target_of(arguments, dst_type, dst_type_max);
  const at::Tensor values = smoothed(arguments);
  const std::vector<std::int64_t> axes = reduced_axes(arguments);
  const at::Tensor most = values.amax(axes, true);
  const at::Tensor scale =
      (most - values.amin(axes, true)) / (largest_of(target) - least_of(target));
  const at::Tensor offset = at::where(scale == 0, 0.0, largest_of(target) - most / scale);
  const at::Tensor ratio = at::where(scale == 0, 0.0, values / scale + offset);
  return {encoded(arguments.op, ratio.to(at::kFloat), target.element, target.rounding),
          as_returned(scale, arguments), as_returned(offset.to(at::kFloat), arguments)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&dynamic_quant>(m, "npu_dynamic_quant");
  composed_kernel<&dynamic_quant_asymmetric>(m, "npu_dynamic_quant_asymmetric");
}

}  // namespace
}  // namespace npu_sim::ops
