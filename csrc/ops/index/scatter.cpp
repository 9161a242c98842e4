// Values put into a tensor at computed places: npu_scatter_nd_update and scatter_update.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/index_put.h>

#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/work_of.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"

namespace npu_sim::ops {
namespace {

// --- work: a copy unless the call works in place, then pieces of `updates` to their places.
model::Work start_from_input(const aten::Call& call) {
  const at::Tensor& input = aten::tensor_at(call, 0);
  if (call.result().is_same(input)) return model::NoWork{};
  return aten::work_of::copy(call.result(), input);
}
model::Work scattered(const aten::Call& call, std::int64_t items) {
  const at::Tensor& updates = aten::tensor_at(call, 2);
  const base::Bytes bytes = aten::bytes_of(updates);
  return model::GatherWork{.items = items,
                           .item = base::Bytes(aten::ratio(bytes.count(), items)),
                           .index = aten::bytes_of(aten::tensor_at(call, 1)),
                           .written = bytes,
                           .read = bytes,
                           .scatter = true,
                           .table = aten::bytes_of(aten::tensor_at(call, 0))};
}
model::Work scatter_nd_work(const aten::Call& call) {
  const at::Tensor& indices = aten::tensor_at(call, 1);
  return scattered(call, aten::ratio(indices.numel(), aten::size_along(indices, -1)));
}
// What lies together is what follows the scattered axis, and the places along it.
model::Work scatter_work(const aten::Call& call) {
  const at::Tensor& updates = aten::tensor_at(call, 2);
  const std::int64_t axis = aten::integer_at(call, 3, 0);
  const std::int64_t first = axis < 0 ? axis + updates.dim() : axis;
  const std::int64_t piece = aten::size_along(updates, first) * aten::slice_after(updates, first);
  return scattered(call, aten::ratio(updates.numel(), piece));
}
constexpr aten::Describer kThenScatters[] = {scatter_nd_work};
constexpr aten::Describer kThenUpdates[] = {scatter_work};
constexpr aten::Entry kEntries[] = {
    {"npu_scatter_nd_update", start_from_input, kThenScatters},
    {"scatter_update", start_from_input, kThenUpdates},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using Sizes = std::vector<std::int64_t>;

void check_dtype(const char* op, const at::Tensor& input, const at::Tensor& updates) {
  TORCH_CHECK_TYPE(input.scalar_type() == updates.scalar_type(), op, ": expected updates of ",
                   input.scalar_type(), ", the dtype of input, got ", updates.scalar_type());
}

// The place of each update along the leading axes of `input`.
std::vector<at::Tensor> places_nd(const char* op, const at::Tensor& input,
                                  const at::Tensor& indices, const at::Tensor& updates) {
  check_dtype(op, input, updates);
  TORCH_CHECK_VALUE(indices.dim() >= 2, op, ": expected indices of two axes or more, got ",
                    indices.sizes());
  const std::int64_t depth = indices.size(-1);
  TORCH_CHECK_VALUE(depth >= 1 && depth <= input.dim(), op,
                    ": expected a last axis of indices of 1 to ", input.dim(),
                    ", the axes of input, got ", depth);
  Sizes sizes(indices.sizes().begin(), indices.sizes().end() - 1);
  sizes.insert(sizes.end(), input.sizes().begin() + depth, input.sizes().end());
  TORCH_CHECK_VALUE(updates.sizes() == sizes, op, ": expected updates of ", at::IntArrayRef(sizes),
                    ", got ", updates.sizes());
  std::vector<at::Tensor> places;
  for (std::int64_t axis = 0; axis < depth; ++axis) {
    const at::Tensor place = indices.select(-1, axis);
    check_indices({op, "indices"}, place, 0, input.size(axis));
    places.push_back(place.to(at::kLong));
  }
  return places;
}

// One axis of `input`, from 0 on.
std::int64_t axis_of(const char* op, const at::Tensor& input, std::int64_t axis) {
  const std::int64_t axes = input.dim();
  TORCH_CHECK_INDEX(axis > -axes && axis < axes && axis != 0, op, ": expected axis in (", -axes,
                    ", ", axes, ") other than 0, got ", axis);
  return axis < 0 ? axis + axes : axis;
}

void check_update(const char* op, const at::Tensor& input, const at::Tensor& indices,
                  const at::Tensor& updates, std::int64_t axis) {
  check_dtype(op, input, updates);
  TORCH_CHECK_VALUE(indices.dim() <= 2 && (indices.dim() < 2 || indices.size(1) == 2), op,
                    ": expected indices of no axis, [n] or [n, 2], got ", indices.sizes());
  const std::int64_t count = indices.dim() == 0 ? 1 : indices.size(0);
  Sizes sizes = input.sizes().vec();
  sizes[0] = count;
  if (updates.dim() == input.dim()) sizes[static_cast<std::size_t>(axis)] = updates.size(axis);
  TORCH_CHECK_VALUE(
      updates.sizes() == sizes && count <= input.size(0) && updates.size(axis) <= input.size(axis),
      op, ": expected updates of ", at::IntArrayRef(sizes), " for input of ", input.sizes(),
      ", got ", updates.sizes());
}

// Where each update goes: the item of the first axis, and the places along `axis`.
std::vector<at::Tensor> places_along(const char* op, const at::Tensor& input,
                                     const at::Tensor& indices, const at::Tensor& updates,
                                     std::int64_t axis) {
  const std::int64_t length = updates.size(axis);
  const bool pairs = indices.dim() == 2;
  const at::Tensor start = (pairs ? indices.select(1, 1) : indices.reshape({-1})).to(at::kLong);
  const at::Tensor item =
      pairs ? indices.select(1, 0).to(at::kLong) : at::arange(start.numel(), start.options());
  if (pairs) check_indices({op, "indices of items"}, item, 0, input.size(0));
  check_indices({op, "indices"}, start, 0, input.size(axis) - length + 1);
  return {item.unsqueeze(1), start.unsqueeze(1) + at::arange(length, start.options())};
}

// ATen puts bytes, not fp8.
at::Tensor as_bytes(const at::Tensor& tensor) {
  const bool narrow = tensor.is_floating_point() && tensor.element_size() == 1;
  return narrow ? tensor.view(at::kByte) : tensor;
}

// --- compute
void put(const at::Tensor& target, const std::vector<at::Tensor>& places,
         const at::Tensor& values) {
  if (target.is_meta()) return;
  c10::List<std::optional<at::Tensor>> indices;
  for (const at::Tensor& place : places) indices.push_back(place);
  at::Tensor bytes = as_bytes(target);
  at::index_put_(bytes, indices, as_bytes(values));
}

at::Tensor& scatter_nd_update_(at::Tensor& input, const at::Tensor& indices,
                               const at::Tensor& updates) {
  put(input, places_nd("npu_scatter_nd_update_", input, indices, updates), updates);
  return input;
}

at::Tensor scatter_nd_update(const at::Tensor& input, const at::Tensor& indices,
                             const at::Tensor& updates) {
  const auto places = places_nd("npu_scatter_nd_update", input, indices, updates);
  at::Tensor result = input.clone();
  put(result, places, updates);
  return result;
}

void update_along(const char* op, const at::Tensor& target, const at::Tensor& indices,
                  const at::Tensor& updates, std::int64_t dim) {
  TORCH_CHECK_TYPE(indices.scalar_type() == at::kInt || indices.scalar_type() == at::kLong, op,
                   ": expected indices of int32 or int64, got ", indices.scalar_type());
  const std::int64_t axis = axis_of(op, target, dim);
  check_update(op, target, indices, updates, axis);
  const auto places = places_along(op, target, indices, updates, axis);
  put(target.movedim(axis, 1), places, updates.movedim(axis, 1));
}

at::Tensor& update_(at::Tensor& input, const at::Tensor& indices, const at::Tensor& updates,
                    std::int64_t axis) {
  update_along("scatter_update_", input, indices, updates, axis);
  return input;
}

at::Tensor update(const at::Tensor& input, const at::Tensor& indices, const at::Tensor& updates,
                  std::int64_t axis) {
  at::Tensor result = input.clone();
  update_along("scatter_update", result, indices, updates, axis);
  return result;
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&scatter_nd_update>(m, "npu_scatter_nd_update");
  composed_kernel<&scatter_nd_update_>(m, "npu_scatter_nd_update_");
  composed_kernel<&update>(m, "scatter_update");
  composed_kernel<&update_>(m, "scatter_update_");
}

}  // namespace
}  // namespace npu_sim::ops
