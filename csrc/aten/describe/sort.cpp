// Sorting, selection, searching and counting.
#include <algorithm>
#include <bit>
#include <cmath>

#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using base::Bytes;
using model::SortWork;
using model::Work;

// Rows of argument 0 along `dim`; `k` = 0 asks for a full sort.
Work sort_along(const Call& call, std::int64_t dim, std::int64_t k) {
  const at::Tensor& input = tensor_at(call, 0);
  const std::int64_t columns = size_along(input, dim);
  return SortWork{.rows = ratio(elements_of(input), columns),
                  .columns = columns,
                  .k = k == 0 ? columns : k,
                  .format = format_of(input),
                  .written = traffic_of(call).written};
}

// One row of all elements of argument 0.
Work sort_flat(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  return SortWork{.rows = 1,
                  .columns = elements_of(input),
                  .k = elements_of(input),
                  .format = format_of(input),
                  .written = traffic_of(call).written};
}

// sort(self, dim, descending)
Work sort(const Call& call) { return sort_along(call, integer_at(call, 1, -1), 0); }

// sort.stable(self, *, stable, dim, descending)
Work sort_stable(const Call& call) { return sort_along(call, integer_at(call, 2, -1), 0); }

// topk(self, k, dim, ...)
Work topk(const Call& call) {
  return sort_along(call, integer_at(call, 2, -1), integer_at(call, 1, 1));
}

// median(self[, dim]) selects the middle element; mode(self, dim) sorts.
Work median(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const bool flat = call.arguments.size() < 2 || !call.arguments[1].isInt();
  if (flat) return sort_flat(call);
  const std::int64_t dim = integer_at(call, 1, -1);
  return sort_along(call, dim, size_along(input, dim) / 2 + 1);
}

// Neighbours are compared, and what differs is packed.
Work unique_neighbours(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return model::VectorWork{.elements = elements_of(tensor_at(call, 0)),
                           .read = traffic.read,
                           .written = traffic.written,
                           .compute = traffic.compute,
                           .linear_ops = 5};
}

// randperm(n): sorts n random keys.
Work random_permutation(const Call& call) {
  const at::Tensor& out = output_of(call);
  return SortWork{.rows = 1,
                  .columns = elements_of(out),
                  .k = elements_of(out),
                  .format = base::Format::kInt32,
                  .written = bytes_of(out)};
}

std::int64_t log2_of(std::int64_t n) {
  return n < 2 ? 1 : static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(n - 1)));
}

// A binary search: log2(n) dependent reads of the sorted sequence for each query.
Work binary_search(const Call& call, const at::Tensor& sequence) {
  const at::Tensor& out = output_of(call);
  const std::int64_t items = elements_of(out) * log2_of(size_along(sequence, -1));
  const Bytes item(sequence.defined() ? static_cast<std::int64_t>(sequence.element_size()) : 0);
  return model::GatherWork{
      .items = items, .item = item, .written = bytes_of(out), .read = traffic_of(call).read};
}

// searchsorted(sorted_sequence, self), bucketize(self, boundaries)
Work searchsorted(const Call& call) { return binary_search(call, tensor_at(call, 0)); }
Work bucketize(const Call& call) { return binary_search(call, tensor_at(call, 1)); }

// bincount, histc: one atomic add an element into a small table.
Work histogram(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const at::Tensor& out = output_of(call);
  return model::GatherWork{.items = elements_of(input),
                           .item = Bytes(static_cast<std::int64_t>(out.element_size())),
                           .index = bytes_of(input),
                           .written = bytes_of(out),
                           .read = bytes_of(tensor_at(call, 1)),
                           .scatter = true,
                           .accumulates = true};
}

// isin(elements, test_elements): compares with each of few, else sorts both together. The limit
// is the one torch's own implementation uses.
Work isin(const Call& call) {
  const std::int64_t elements = std::max<std::int64_t>(elements_of(tensor_at(call, 0)), 1);
  const std::int64_t tests = std::max<std::int64_t>(elements_of(tensor_at(call, 1)), 1);
  const double limit = 10.0 * std::pow(static_cast<double>(elements), 0.145);
  if (static_cast<double>(tests) < limit) {
    return element_wise(call, static_cast<int>(2 * tests), 0);
  }
  return SortWork{.rows = 1,
                  .columns = elements + tests,
                  .k = elements + tests,
                  .format = format_of(tensor_at(call, 0)),
                  .written = bytes_of(output_of(call))};
}

constexpr Entry kEntries[] = {
    {"sort", sort},
    {"sort.stable", sort_stable},
    {"sort.values_stable", sort_stable},
    {"argsort", sort},
    {"argsort.stable", sort_stable},
    {"msort", sort},
    {"topk", topk},
    {"kthvalue", topk},
    {"median", median},
    {"nanmedian", median},
    {"mode", sort},
    {"_unique", sort_flat},
    {"_unique2", sort_flat},
    {"unique_dim", sort},
    {"unique_consecutive", unique_neighbours},
    {"unique_dim_consecutive", unique_neighbours},
    {"randperm", random_permutation},
    {"searchsorted", searchsorted},
    {"bucketize", bucketize},
    {"histc", histogram},
    {"histogram", histogram},
    {"bincount", histogram},
    {"isin", isin},
};

}  // namespace

Entries sort_entries() { return kEntries; }

}  // namespace npu_sim::aten
