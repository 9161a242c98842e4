// Reads from and writes to computed places: indexing, embeddings, scatters, masks.
#include <algorithm>
#include <utility>

#include "aten/describe/entry.h"
#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using base::Bytes;
using model::GatherWork;
using model::Work;

std::int64_t item_bytes(const at::Tensor& tensor) {
  return static_cast<std::int64_t>(tensor.element_size());
}

// What a list of optional index tensors asks: how many places, how long the contiguous piece at
// each is, and the bytes of the indices. A mask stands for the axes that it covers.
struct Places {
  std::int64_t slice = 1;
  std::int64_t places = 1;  // index tuples; for a mask, its elements
  Bytes index{};
  bool masked = false;
};

Places places_of(const at::Tensor& self, const c10::IValue& indices) {
  Places places;
  std::int64_t axis = 0;
  std::int64_t last = -1;
  std::int64_t unindexed = 1;  // axes before or between the indexed ones
  std::int64_t pending = 1;
  for (const c10::IValue& item : indices.toListRef()) {
    if (!item.isTensor() || !item.toTensor().defined()) {
      pending *= size_along(self, axis++);
      continue;
    }
    const at::Tensor& index = item.toTensor();
    const bool mask = index.scalar_type() == c10::ScalarType::Bool ||
                      index.scalar_type() == c10::ScalarType::Byte;
    places.masked |= mask;
    places.index += bytes_of(index);
    places.places = std::max(places.places, index.numel());
    unindexed *= std::exchange(pending, 1);
    axis += mask ? index.dim() : 1;
    last = axis - 1;
  }
  places.slice = slice_after(self, last);
  places.places *= unindexed;
  return places;
}

// index(self, indices)
Work index(const Call& call) {
  const at::Tensor& out = output_of(call);
  const Places places = places_of(tensor_at(call, 0), call.arguments[1]);
  const std::int64_t slice = std::max<std::int64_t>(places.slice, 1);
  return GatherWork{.items = elements_of(out) / slice,
                    .item = Bytes(slice * item_bytes(out)),
                    .index = places.index,
                    .written = bytes_of(out),
                    .read = bytes_of(out),
                    .table = bytes_of(tensor_at(call, 0))};
}

// _unsafe_masked_index(self, mask, indices, fill)
Work masked_index(const Call& call) {
  const at::Tensor& out = output_of(call);
  const Places places = places_of(tensor_at(call, 0), call.arguments[2]);
  const std::int64_t slice = std::max<std::int64_t>(places.slice, 1);
  return GatherWork{.items = elements_of(out) / slice,
                    .item = Bytes(slice * item_bytes(out)),
                    .index = places.index + bytes_of(tensor_at(call, 1)),
                    .written = bytes_of(out),
                    .read = bytes_of(out)};
}

// A functional scatter first copies the tensor that it changes.
Bytes copied_first(const Call& call) {
  const at::Tensor& self = tensor_at(call, 0);
  return output_of(call).is_same(self) ? Bytes(0) : bytes_of(self);
}

struct Scatter {
  std::int64_t items = 0;
  std::int64_t slice = 1;  // elements
  Bytes index{};
  Bytes source{};
  bool accumulates = false;
};

Work scatter(const Call& call, const Scatter& scatter) {
  const Bytes copied = copied_first(call);
  const Bytes item(scatter.slice * item_bytes(output_of(call)));
  const Bytes moved = item * scatter.items;
  return GatherWork{.items = scatter.items,
                    .item = item,
                    .index = scatter.index,
                    .written = moved + copied,
                    .read = scatter.source + copied + (scatter.accumulates ? moved : Bytes(0)),
                    .scatter = true,
                    .accumulates = scatter.accumulates};
}

// index_put(self, indices, values, accumulate)
Work index_put(const Call& call) {
  const at::Tensor& self = tensor_at(call, 0);
  const at::Tensor& values = tensor_at(call, 2);
  const Places places = places_of(self, call.arguments[1]);
  const bool one_value = elements_of(values) == 1;
  if (places.masked && one_value) return element_wise(call, 1, 0);  // a masked fill
  const std::int64_t slice = std::max<std::int64_t>(places.slice, 1);
  // How many places a mask selects is a value; as many as there are values to put.
  const std::int64_t items = places.masked ? ratio(elements_of(values), slice) : places.places;
  return scatter(call, {.items = items,
                        .slice = slice,
                        .index = places.index,
                        .source = bytes_of(values),
                        .accumulates = boolean_at(call, 3, false)});
}

// _unsafe_masked_index_put_accumulate(self, mask, indices, values)
Work masked_index_put(const Call& call) {
  const at::Tensor& values = tensor_at(call, 3);
  const Places places = places_of(tensor_at(call, 0), call.arguments[2]);
  const std::int64_t slice = std::max<std::int64_t>(places.slice, 1);
  return scatter(call, {.items = elements_of(values) / slice,
                        .slice = slice,
                        .index = places.index + bytes_of(tensor_at(call, 1)),
                        .source = bytes_of(values),
                        .accumulates = true});
}

// index_select(self, dim, index)
Work index_select(const Call& call) {
  const at::Tensor& self = tensor_at(call, 0);
  return work_of::gather(output_of(call), tensor_at(call, 2),
                         slice_after(self, integer_at(call, 1, 0)), self);
}

// take(self, index): every element has a place of its own.
Work take(const Call& call) {
  return work_of::gather(output_of(call), tensor_at(call, 1), 1, tensor_at(call, 0));
}

// gather(self, dim, index): the same, but within a row along `dim`.
Work gather_elements(const Call& call) {
  const at::Tensor& self = tensor_at(call, 0);
  const std::int64_t dim = integer_at(call, 1, 0);
  Work work = work_of::gather(output_of(call), tensor_at(call, 2), 1, self);
  auto& gather = std::get<GatherWork>(work);
  gather.choices = size_along(self, dim);
  gather.run = slice_after(self, dim);
  return work;
}

// embedding(weight, indices)
Work embedding(const Call& call) {
  const at::Tensor& weight = tensor_at(call, 0);
  return work_of::gather(output_of(call), tensor_at(call, 1), size_along(weight, -1), weight);
}

// embedding_dense_backward(grad_output, indices, num_weights, ...): zeros, then atomic row adds.
Work embedding_backward(const Call& call) {
  const at::Tensor& grad = tensor_at(call, 0);
  const at::Tensor& indices = tensor_at(call, 1);
  const std::int64_t width = size_along(grad, -1);
  return GatherWork{.items = elements_of(indices),
                    .item = Bytes(width * item_bytes(grad)),
                    .index = bytes_of(indices),
                    .written = bytes_of(output_of(call)) + bytes_of(grad),
                    .read = bytes_of(grad),
                    .scatter = true,
                    .accumulates = true};
}

// _embedding_bag(weight, indices, offsets, ...): every row is read, one row a bag is written.
Work embedding_bag(const Call& call) {
  const at::Tensor& weight = tensor_at(call, 0);
  const at::Tensor& indices = tensor_at(call, 1);
  const Bytes row(size_along(weight, -1) * item_bytes(weight));
  return GatherWork{.items = elements_of(indices),
                    .item = row,
                    .index = bytes_of(indices) + bytes_of(tensor_at(call, 2)),
                    .written = traffic_of(call).written,
                    .read = row * elements_of(indices)};
}

// embedding_renorm_(self, indices, ...): the rows in use are read and written back.
Work embedding_renorm(const Call& call) {
  const at::Tensor& indices = tensor_at(call, 1);
  return scatter(call, {.items = elements_of(indices),
                        .slice = size_along(tensor_at(call, 0), -1),
                        .index = bytes_of(indices),
                        .accumulates = true});
}

// scatter(self, dim, index, src or value): every element of index has a place of its own.
template <bool accumulates>
Work scatter_elements(const Call& call) {
  const at::Tensor& indices = tensor_at(call, 2);
  return scatter(call, {.items = elements_of(indices),
                        .index = bytes_of(indices),
                        .source = bytes_of(tensor_at(call, 3)),
                        .accumulates = accumulates});
}

// index_add(self, dim, index, source), index_copy, index_fill, index_reduce: whole slices.
template <bool accumulates>
Work scatter_slices(const Call& call) {
  const at::Tensor& self = tensor_at(call, 0);
  const std::int64_t dim = integer_at(call, 1, 0);
  const std::int64_t slice = slice_after(self, dim);
  const std::int64_t outer = ratio(self.numel(), slice * size_along(self, dim));
  return scatter(call, {.items = elements_of(tensor_at(call, 2)) * outer,
                        .slice = slice,
                        .index = bytes_of(tensor_at(call, 2)),
                        .source = bytes_of(tensor_at(call, 3)),
                        .accumulates = accumulates});
}

// put_(self, index, source, accumulate)
Work put(const Call& call) {
  return scatter(call, {.items = elements_of(tensor_at(call, 1)),
                        .index = bytes_of(tensor_at(call, 1)),
                        .source = bytes_of(tensor_at(call, 2)),
                        .accumulates = boolean_at(call, 3, false)});
}

// masked_select, masked_scatter, nonzero: test, prefix count, squeeze, store.
Work compaction(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return model::VectorWork{.elements = elements_of(tensor_at(call, 0)),
                           .read = traffic.read,
                           .written = traffic.written,
                           .compute = traffic.compute,
                           .linear_ops = 4};
}

constexpr Entry kGather[] = {
    {"index", index},
    {"_unsafe_index", index},
    {"_unsafe_masked_index", masked_index},
    {"index_select", index_select},
    {"gather", gather_elements},
    {"take", take},
    {"embedding", embedding},
    {"_embedding_bag", embedding_bag},
    {"_embedding_bag_forward_only", embedding_bag},
    {"_embedding_bag_per_sample_weights_backward", embedding_bag},
    {"masked_select", compaction},
    {"nonzero", compaction},
    {"nonzero_static", compaction},
};

constexpr Entry kScatter[] = {
    {"index_put", index_put},
    {"_index_put_impl_", index_put},
    {"_unsafe_index_put", index_put},
    {"_unsafe_masked_index_put_accumulate", masked_index_put},
    {"scatter", scatter_elements<false>},
    {"scatter.reduce", scatter_elements<true>},
    {"scatter.value_reduce", scatter_elements<true>},
    {"scatter_.reduce", scatter_elements<true>},
    {"scatter_.value_reduce", scatter_elements<true>},
    {"scatter_add", scatter_elements<true>},
    {"scatter_reduce", scatter_elements<true>},
    {"index_add", scatter_slices<true>},
    {"index_reduce", scatter_slices<true>},
    {"index_copy", scatter_slices<false>},
    {"index_fill", scatter_slices<false>},
    {"put", put},
    {"masked_scatter", compaction},
    {"masked_scatter_backward", compaction},
    {"embedding_dense_backward", embedding_backward},
    {"_embedding_bag_backward", embedding_backward},
    {"_embedding_bag_dense_backward", embedding_backward},
    {"embedding_renorm", embedding_renorm},
};

}  // namespace

Entries gather_entries() { return kGather; }
Entries scatter_entries() { return kScatter; }

}  // namespace npu_sim::aten
