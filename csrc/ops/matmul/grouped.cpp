// npu_grouped_matmul: each group of rows (or of the summed axis) by a matrix of its own.
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_grouped_matmul";
constexpr std::int64_t kNoSplit = -1;
constexpr std::int64_t kSplitRows = 0;
constexpr std::int64_t kSplitK = 2;

using Sizes = Integers;
using Tensors = std::optional<at::TensorList>;

// Rows of each group from a group list: 0 running sums, 1 counts, 2 pairs of group and count.
Sizes sizes_of(Sizes list, std::int64_t type, std::int64_t groups) {
  if (type == 1) return list;
  if (type == 0) {
    std::adjacent_difference(list.begin(), list.end(), list.begin());
    return list;
  }
  Sizes sizes(static_cast<std::size_t>(groups));
  for (std::size_t pair = 0; pair + 1 < list.size(); pair += 2) {
    if (list[pair] >= 0 && list[pair] < groups) {
      sizes[static_cast<std::size_t>(list[pair])] += list[pair + 1];
    }
  }
  return sizes;
}

// --- work
const at::Tensor& member(const c10::IValue& list, std::size_t index) {
  return list.toListRef()[index].toTensor();
}

model::Work grouped_work(const aten::Call& call) {
  constexpr std::size_t kGroupList = 8;
  constexpr std::size_t kGroupType = 13;
  constexpr std::size_t kListType = 14;
  const std::size_t xs = call.arguments[0].toListRef().size();
  const std::size_t weights = call.arguments[1].toListRef().size();
  if (xs == 0 || weights == 0) return model::NoWork{};
  const at::Tensor& x = member(call.arguments[0], 0);
  const at::Tensor& weight = member(call.arguments[1], 0);
  const at::Tensor& out = aten::output_of(call);
  model::GroupedMatmulWork work{.n = aten::size_along(weight, -1),
                                .k = aten::size_along(x, -1),
                                .a = aten::format_of(x),
                                .b = aten::format_of(weight),
                                .out = aten::format_of(out)};
  if (xs > 1) {
    Sizes rows;
    for (const c10::IValue& each : call.arguments[0].toListRef()) {
      rows.push_back(aten::ratio(each.toTensor().numel(), aten::size_along(each.toTensor(), -1)));
    }
    work.rows = model::GroupSizes(std::move(rows));
    return work;
  }
  if (aten::integer_at(call, kGroupType, kNoSplit) == kSplitK) {
    const std::int64_t groups = aten::size_along(out, 0);
    work.rows = model::GroupSizes::even(groups, groups * x.size(0));
    work.k = aten::ratio(work.k, groups);
    return work;
  }
  const std::int64_t groups =
      weight.dim() == 3 ? weight.size(0) : static_cast<std::int64_t>(weights);
  const auto list = aten::integers_at(call, kGroupList);
  // Groups without rows read no weights; rows past the last group are not computed.
  work.rows = list.has_value()
                  ? model::GroupSizes(sizes_of(*list, aten::integer_at(call, kListType, 0), groups))
                  : model::GroupSizes::even(groups, x.size(0));
  if (work.rows.empty()) return model::NoWork{};
  return work;
}

constexpr aten::Entry kEntries[] = {{"npu_grouped_matmul", grouped_work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
bool given(const Tensors& tensors) { return tensors.has_value() && !tensors->empty(); }

// What is common to both overloads.
struct Grouped {
  at::TensorList x;
  at::TensorList weight;
  Tensors bias;
  std::optional<Sizes> list;
  std::int64_t split_item;
  std::int64_t group_type;
  std::int64_t list_type;
  at::ScalarType out;
  bool without_values = false;  // shapes alone are asked for

  [[nodiscard]] bool one_result() const { return split_item >= 2; }
  [[nodiscard]] std::int64_t groups() const {
    return weight.size() == 1 && weight[0].dim() == 3 ? weight[0].size(0)
                                                      : static_cast<std::int64_t>(weight.size());
  }
  [[nodiscard]] at::Tensor weight_of(std::int64_t group) const {
    return weight.size() == 1 && weight[0].dim() == 3 ? weight[0].select(0, group)
                                                      : weight[static_cast<std::size_t>(group)];
  }
  [[nodiscard]] at::Tensor bias_of(std::int64_t group) const {
    return bias->size() == 1 && (*bias)[0].dim() == 2 ? (*bias)[0].select(0, group)
                                                      : (*bias)[static_cast<std::size_t>(group)];
  }
};

at::Tensor product(const Grouped& call, const at::Tensor& x, std::int64_t group) {
  const at::Tensor weight = call.weight_of(group);
  TORCH_CHECK_VALUE(x.dim() >= 2 && weight.dim() == 2 && x.size(-1) == weight.size(0), kOp,
                    ": expected x of [m, k] and weight of [k, n] in group ", group, ", got ",
                    x.sizes(), " and ", weight.sizes());
  if (!given(call.bias)) return at::matmul(x, weight).to(call.out);
  const at::Tensor bias = widened(call.bias_of(group));
  return at::matmul(widened(x), widened(weight)).add_(bias).to(call.out);
}

// The sizes of the groups, checked to fit `extent` rows.
Sizes checked_sizes(const Grouped& call, std::int64_t groups, std::int64_t extent) {
  TORCH_CHECK_VALUE(call.list.has_value(), kOp,
                    ": expected group_list where x is one tensor of several groups, got none");
  const Sizes sizes = sizes_of(*call.list, call.list_type, groups);
  TORCH_CHECK_VALUE(static_cast<std::int64_t>(sizes.size()) == groups, kOp,
                    ": expected group_list of ", groups, " groups, got ", sizes.size());
  const bool falls = std::ranges::any_of(sizes, [](std::int64_t rows) { return rows < 0; });
  const std::int64_t sum = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  TORCH_CHECK_VALUE(!falls && sum <= extent, kOp,
                    ": expected group_list of sizes from 0 that add up to at most ", extent,
                    ", got ", at::IntArrayRef(*call.list));
  return sizes;
}

std::vector<at::Tensor> one_each(const Grouped& call) {
  TORCH_CHECK_VALUE(static_cast<std::int64_t>(call.x.size()) == call.groups(), kOp,
                    ": expected as many x as groups in weight, got ", call.x.size(), " and ",
                    call.groups());
  std::vector<at::Tensor> results;
  for (std::size_t i = 0; i < call.x.size(); ++i) {
    results.push_back(product(call, call.x[i], static_cast<std::int64_t>(i)));
  }
  if (call.one_result()) return {at::cat(results)};
  return results;
}

std::vector<at::Tensor> split_rows(const Grouped& call) {
  const at::Tensor& x = call.x[0];
  const std::int64_t groups = call.groups();
  TORCH_CHECK_VALUE(x.dim() == 2, kOp, ": expected x of [m, k] for group_type 0, got ", x.sizes());
  const at::Tensor like = call.weight_of(0);
  const std::vector<std::int64_t> shape{x.size(0), like.size(-1)};
  if (call.without_values) {
    TORCH_CHECK_NOT_IMPLEMENTED(call.one_result(), kOp, ": the shapes of split_item ",
                                call.split_item, " follow from values, which meta tensors lack");
    return {at::empty(shape, x.options().dtype(call.out))};
  }
  const Sizes sizes = checked_sizes(call, groups, x.size(0));
  // Rows past the last group are not computed by the card; here they are zeros.
  const at::Tensor whole = at::zeros(shape, x.options().dtype(call.out));
  std::vector<at::Tensor> parts;
  std::int64_t first = 0;
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t rows = sizes[static_cast<std::size_t>(group)];
    const at::Tensor part = product(call, x.narrow(0, first, rows), group);
    if (call.one_result()) {
      whole.narrow(0, first, rows).copy_(part);
    } else {
      parts.push_back(part);
    }
    first += rows;
  }
  if (call.one_result()) return {whole};
  return parts;
}

// x of [m, k] and weight of [k, n] are split along k: a gradient of the weights of all groups.
std::vector<at::Tensor> split_k(const Grouped& call) {
  const at::Tensor& x = call.x[0];
  const at::Tensor& weight = call.weight[0];
  TORCH_CHECK_VALUE(x.dim() == 2 && weight.dim() == 2 && x.size(1) == weight.size(0), kOp,
                    ": expected x of [m, k] and weight of [k, n] for group_type 2, got ", x.sizes(),
                    " and ", weight.sizes());
  TORCH_CHECK_VALUE(call.list.has_value() || call.without_values, kOp,
                    ": expected group_list for group_type 2, got none");
  TORCH_CHECK_NOT_IMPLEMENTED(!call.without_values, kOp,
                              ": group_type 2 has no shapes without "
                              "values yet");
  const std::int64_t groups = static_cast<std::int64_t>(call.list->size());
  TORCH_CHECK_VALUE(call.list_type != 2, kOp, ": expected group_list_type 0 or 1 for group_type 2");
  const Sizes sizes = checked_sizes(call, groups, x.size(1));
  std::vector<at::Tensor> parts;
  std::int64_t first = 0;
  for (const std::int64_t size : sizes) {
    const at::Tensor part = at::matmul(x.narrow(1, first, size), weight.narrow(0, first, size));
    parts.push_back(part.to(call.out));
    first += size;
  }
  if (!call.one_result()) return parts;
  return {parts.empty() ? at::empty({0, x.size(0), weight.size(1)}, x.options().dtype(call.out))
                        : at::stack(parts)};
}

std::vector<at::Tensor> computed(const Grouped& call) {
  TORCH_CHECK_VALUE(!call.x.empty() && !call.weight.empty(), kOp,
                    ": expected at least one x and one weight, got ", call.x.size(), " and ",
                    call.weight.size());
  for (const at::Tensor& each : call.x) {
    TORCH_CHECK_TYPE(each.is_floating_point() && c10::elementSize(each.scalar_type()) >= 2 &&
                         each.scalar_type() == call.weight[0].scalar_type(),
                     kOp, ": expected x and weight of one dtype of 16 or 32 bits, got ",
                     each.scalar_type(), " and ", call.weight[0].scalar_type());
  }
  TORCH_CHECK_VALUE(call.split_item >= 0 && call.split_item <= 3, kOp,
                    ": expected split_item from 0 to 3, got ", call.split_item);
  TORCH_CHECK_VALUE(call.list_type >= 0 && call.list_type <= 2, kOp,
                    ": expected group_list_type of 0 (sums), 1 (counts) or 2 (pairs), got ",
                    call.list_type);
  TORCH_CHECK_VALUE(!given(call.bias) || call.bias->size() == call.weight.size(), kOp,
                    ": expected as many bias as weight tensors, ", call.weight.size(), ", got ",
                    given(call.bias) ? call.bias->size() : 0);
  TORCH_CHECK_VALUE(call.groups() > 0, kOp, ": expected weight of one group or more, got ",
                    call.weight[0].sizes());
  if (call.group_type == kSplitK) return split_k(call);
  TORCH_CHECK_VALUE(call.group_type == kNoSplit || call.group_type == kSplitRows, kOp,
                    ": expected group_type of -1 (none), 0 (rows) or 2 (k), got ", call.group_type);
  const bool split = call.x.size() == 1 && call.groups() > 1;
  return split || (call.x.size() == 1 && call.list.has_value()) ? split_rows(call) : one_each(call);
}

// Quantised forms come with the operators of quantisation.
void refuse(const Tensors& tensors, const char* argument) {
  TORCH_CHECK_NOT_IMPLEMENTED(!given(tensors), kOp, ": ", argument, " is not built yet");
}

at::ScalarType result_dtype(at::TensorList x, std::optional<std::int64_t> dtype) {
  if (!dtype.has_value()) return x.empty() ? at::kFloat : x[0].scalar_type();
  const auto asked = static_cast<at::ScalarType>(*dtype);
  TORCH_CHECK_VALUE(asked == at::kFloat || asked == at::kHalf || asked == at::kBFloat16, kOp,
                    ": expected output_dtype of float32, float16 or bfloat16, got ", *dtype);
  return asked;
}

std::optional<Sizes> integers(const std::optional<at::Tensor>& list) {
  if (!given(list)) return std::nullopt;
  TORCH_CHECK_TYPE(list->scalar_type() == at::kLong, kOp, ": expected group_list of int64, got ",
                   list->scalar_type());
  if (list->is_meta()) return Sizes{};
  return integers_in(*list);
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
  refuse(scale, "scale");
  refuse(offset, "offset");
  refuse(antiquant_scale, "antiquant_scale");
  refuse(antiquant_offset, "antiquant_offset");
  refuse(per_token_scale, "per_token_scale");
  refuse(activation_input, "activation_input");
  refuse(activation_quant_scale, "activation_quant_scale");
  refuse(activation_quant_offset, "activation_quant_offset");
  TORCH_CHECK_NOT_IMPLEMENTED(act_type.value_or(0) == 0, kOp, ": act_type ", act_type.value_or(0),
                              " is not built yet");
  TORCH_CHECK_NOT_IMPLEMENTED(!x_dtype && !weight_dtype && !scale_dtype && !per_token_scale_dtype,
                              kOp,
                              ": x_dtype, weight_dtype, scale_dtype and "
                              "per_token_scale_dtype are not built yet");
  return computed({.x = x,
                   .weight = weight,
                   .bias = bias,
                   .list = integers(group_list),
                   .split_item = split_item.value_or(0),
                   .group_type = group_type.value_or(kNoSplit),
                   .list_type = group_list_type.value_or(0),
                   .out = result_dtype(x, output_dtype),
                   .without_values = !x.empty() && x[0].is_meta()});
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&grouped_matmul>(m, "npu_grouped_matmul"); }

}  // namespace
}  // namespace npu_sim::ops
