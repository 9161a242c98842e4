// npu_quant_scatter: updates quantised with given scales, written at places of one axis of a tensor
// of codes: in place, or in a copy.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include "aten/describe/registry.h"
#include "ops/cache/copied_first.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

// --- work: runs of the updates' rows, quantised on the way.
model::Work scattered(const aten::Call& call) {
  const at::Tensor& updates = aten::tensor_at(call, 2);
  const std::int64_t columns = aten::size_along(updates, -1);
  const auto element = static_cast<std::int64_t>(aten::tensor_at(call, 0).element_size());
  const std::int64_t items = aten::ratio(updates.numel(), columns);
  return model::GatherWork{.items = items,
                           .item = base::Bytes(columns * element),
                           .index = aten::bytes_of(aten::tensor_at(call, 1)),
                           .written = base::Bytes(updates.numel() * element),
                           .read = aten::bytes_of(updates),
                           .scatter = true};
}
constexpr aten::Describer kScatter[] = {scattered};
constexpr aten::Entry kEntries[] = {
    {"npu_quant_scatter", copied_first<0>, kScatter},
    {"npu_quant_scatter_", scattered},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Arguments {
  const char* op;
  const at::Tensor& input;
  const at::Tensor& indices;
  const at::Tensor& updates;
  std::int64_t axis;
};

std::int64_t checked_axis(const Arguments& arguments, std::int64_t quant_axis) {
  const std::int64_t dims = arguments.updates.dim();
  const std::int64_t axis = arguments.axis < 0 ? arguments.axis + dims : arguments.axis;
  TORCH_CHECK_VALUE(arguments.input.dim() == dims && dims >= 3 && dims <= 8, arguments.op,
                    ": expected input and updates of the same 3 to 8 axes, got ",
                    arguments.input.sizes(), " and ", arguments.updates.sizes());
  TORCH_CHECK_INDEX(axis > 0 && axis < dims - 1, arguments.op,
                    ": expected axis to be neither the first nor the last of ", dims, ", got ",
                    arguments.axis);
  TORCH_CHECK_VALUE(quant_axis == -1 || quant_axis == dims - 1, arguments.op,
                    ": expected quant_axis -1, got ", quant_axis);
  return axis;
}

void check_sizes(const Arguments& arguments, std::int64_t axis) {
  const at::Tensor& indices = arguments.indices;
  TORCH_CHECK_TYPE(indices.scalar_type() == at::kInt || indices.scalar_type() == at::kLong,
                   arguments.op, ": expected indices of int32 or int64, got ",
                   indices.scalar_type());
  const std::int64_t count = arguments.updates.size(0);
  const bool listed = indices.dim() == 1 || (indices.dim() == 2 && indices.size(1) == 2);
  TORCH_CHECK_VALUE(listed && indices.size(0) == count, arguments.op, ": expected indices of [",
                    count, "] or [", count, ", 2], got ", indices.sizes());
  bool fits = count <= arguments.input.size(0);
  for (std::int64_t i = 1; fits && i < arguments.updates.dim(); ++i) {
    const std::int64_t size = arguments.updates.size(i);
    fits = i == axis ? size <= arguments.input.size(i) : size == arguments.input.size(i);
  }
  TORCH_CHECK_VALUE(fits, arguments.op, ": expected updates that fit input of ",
                    arguments.input.sizes(), " along axis ", axis, ", got ",
                    arguments.updates.sizes());
}

Target target_of(const Arguments& arguments, std::optional<std::int64_t> dst_type,
                 std::optional<c10::string_view> round_mode) {
  const compute::Element element =
      require_element({.op = arguments.op, .argument = "dst_type"}, dst_type.value_or(1));
  TORCH_CHECK_VALUE(compute::bits(element) == 8, arguments.op,
                    ": expected dst_type of int8, fp8 or hifloat8, got ", dst_type.value_or(1));
  TORCH_CHECK_TYPE(arguments.input.scalar_type() == carrier(element), arguments.op,
                   ": expected input of ", carrier(element), ", the dtype of dst_type ",
                   dst_type.value_or(1), ", got ", arguments.input.scalar_type());
  return {.element = element,
          .rounding = static_rounding(arguments.op, element, round_mode.value_or("rint"))};
}

// One number an element of the last axis.
at::Tensor along_last(const Arguments& arguments, const char* argument,
                      const at::Tensor& parameter) {
  const std::int64_t columns = arguments.updates.size(-1);
  TORCH_CHECK_VALUE(parameter.numel() == columns, arguments.op, ": expected ", argument, " of ",
                    columns, " elements, got ", parameter.sizes());
  return widened(parameter).reshape({columns});
}

// --- compute
// Where each update begins: the row of the first axis, and the place along `axis`.
struct Places {
  at::Tensor row;
  at::Tensor begin;
};

Places places_of(const Arguments& arguments, std::int64_t axis) {
  const at::Tensor indices = arguments.indices.to(at::kLong);
  const bool pairs = indices.dim() == 2;
  const Places places{
      .row = pairs ? indices.select(1, 0) : at::arange(indices.size(0), indices.options()),
      .begin = pairs ? indices.select(1, 1) : indices};
  const std::int64_t rows = arguments.input.size(0);
  const std::int64_t last = arguments.input.size(axis) - arguments.updates.size(axis);
  const bool within = indices.numel() == 0 || (places.begin.min().item<std::int64_t>() >= 0 &&
                                               places.begin.max().item<std::int64_t>() <= last &&
                                               places.row.min().item<std::int64_t>() >= 0 &&
                                               places.row.max().item<std::int64_t>() < rows);
  TORCH_CHECK_INDEX(within, arguments.op, ": expected indices that begin in 0 to ", last,
                    " along axis ", axis, ", in rows below ", rows, ", got others");
  return places;
}

void scatter(const Arguments& arguments, const at::Tensor& codes, std::int64_t axis) {
  if (codes.is_meta()) return;
  const Places places = places_of(arguments, axis);
  const at::Tensor along =
      places.begin.unsqueeze(1) + at::arange(codes.size(axis), places.begin.options());
  // Codes of all formats are bytes; moving them needs no arithmetic.
  const at::Tensor into = arguments.input.view(at::kByte).movedim(axis, 1);
  c10::List<std::optional<at::Tensor>> indices;
  indices.push_back(places.row.unsqueeze(1));
  indices.push_back(along);
  into.index_put_(indices, codes.view(at::kByte).movedim(axis, 1));
}

struct Options {
  const at::Tensor& scales;
  const MaybeTensor& zero_points;
  std::int64_t quant_axis;
  c10::string_view reduce;
  std::optional<std::int64_t> dst_type;
  std::optional<c10::string_view> round_mode;
};

void quant_scatter(const Arguments& arguments, const Options& options) {
  const std::int64_t axis = checked_axis(arguments, options.quant_axis);
  TORCH_CHECK_VALUE(options.reduce == "update", arguments.op, ": expected reduce 'update', got '",
                    options.reduce, "'");
  TORCH_CHECK_TYPE(arguments.updates.is_floating_point(), arguments.op,
                   ": expected updates of float16 or bfloat16, got ",
                   arguments.updates.scalar_type());
  check_sizes(arguments, axis);
  const Target target = target_of(arguments, options.dst_type, options.round_mode);
  at::Tensor values =
      widened(arguments.updates) / along_last(arguments, "quant_scales", options.scales);
  if (given(options.zero_points)) {
    values = values + along_last(arguments, "quant_zero_points", *options.zero_points);
  }
  scatter(arguments, coded_to(arguments.op, values, target), axis);
}

at::Tensor npu_quant_scatter(const at::Tensor& input, const at::Tensor& indices,
                             const at::Tensor& updates, const at::Tensor& quant_scales,
                             const MaybeTensor& quant_zero_points, std::int64_t axis,
                             std::int64_t quant_axis, c10::string_view reduce,
                             std::optional<std::int64_t> dst_type,
                             std::optional<c10::string_view> round_mode) {
  at::Tensor result = input.clone();
  quant_scatter({"npu_quant_scatter", result, indices, updates, axis},
                {quant_scales, quant_zero_points, quant_axis, reduce, dst_type, round_mode});
  return result;
}

at::Tensor& npu_quant_scatter_(at::Tensor& input, const at::Tensor& indices,
                               const at::Tensor& updates, const at::Tensor& quant_scales,
                               const MaybeTensor& quant_zero_points, std::int64_t axis,
                               std::int64_t quant_axis, c10::string_view reduce,
                               std::optional<std::int64_t> dst_type,
                               std::optional<c10::string_view> round_mode) {
  quant_scatter({"npu_quant_scatter_", input, indices, updates, axis},
                {quant_scales, quant_zero_points, quant_axis, reduce, dst_type, round_mode});
  return input;
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&npu_quant_scatter>(m, "npu_quant_scatter");
  composed_kernel<&npu_quant_scatter_>(m, "npu_quant_scatter_");
}

}  // namespace
}  // namespace npu_sim::ops
