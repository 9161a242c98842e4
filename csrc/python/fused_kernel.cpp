// Kernels that a compiler generated: their values are computed already, here they get their time.
//
// The compiler says what one launch does: sweeps over elements with their vector instructions,
// bytes that are streamed, and pieces that are gathered from or scattered to computed places.
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/cost/cost.h"
#include "python/bindings.h"
#include "runtime/core_limit.h"
#include "runtime/launch.h"
#include "runtime/stream.h"

namespace npu_sim::python {
namespace {

using base::Bytes;
using base::Format;

// (elements, full-rate instructions an element, special ones)
using Sweep = std::tuple<std::int64_t, std::int64_t, std::int64_t>;
// (elements, bytes of a contiguous piece, bytes of the table, scatters, adds)
using Pieces = std::tuple<std::int64_t, std::int64_t, std::int64_t, bool, bool>;
// (bytes streamed in, bytes streamed out, what goes to or comes from computed places)
using Traffic = std::tuple<std::int64_t, std::int64_t, std::vector<Pieces>>;
// (rows, columns, reductions a row, sweeps over memory); no rows: an element-wise kernel
using Rows = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>;

Format format_named(const std::string& wanted) {
  for (int i = 0; i <= static_cast<int>(Format::kComplex128); ++i) {
    const auto format = static_cast<Format>(i);
    if (base::name(format) == wanted) return format;
  }
  throw base::ValueError("record_fused_kernel: expected the name of a format, got " + wanted);
}

std::int16_t count(std::int64_t value) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int16_t>::max();
  return static_cast<std::int16_t>(std::clamp<std::int64_t>(value, 0, kMost));
}

// Instructions an element, rounded up, when those of all sweeps are counted on `elements` (those of
// the largest sweep if 0).
struct Instructions {
  std::int64_t elements = 0;
  std::int16_t linear = 0;
  std::int16_t special = 0;
};

Instructions combine(const std::vector<Sweep>& sweeps, std::int64_t elements) {
  double linear = 0;
  double special = 0;
  std::int64_t largest = 0;
  for (const auto& [size, linear_ops, special_ops] : sweeps) {
    largest = std::max(largest, size);
    linear += static_cast<double>(size) * static_cast<double>(linear_ops);
    special += static_cast<double>(size) * static_cast<double>(special_ops);
  }
  if (elements == 0) elements = largest;
  const auto each = [elements](double total) {
    if (elements == 0) return std::int16_t{0};
    return count(static_cast<std::int64_t>(std::ceil(total / static_cast<double>(elements))));
  };
  return {.elements = elements, .linear = each(linear), .special = each(special)};
}

// Bytes that cross memory for one set of pieces: whole transactions, as the model has it.
std::pair<Bytes, Bytes> moved(const Pieces& pieces, runtime::StreamId stream) {
  const auto& [bytes, piece, table, scatters, adds] = pieces;
  if (bytes == 0 || piece == 0) return {Bytes(0), Bytes(0)};
  const model::GatherWork work{.items = bytes / piece,
                               .item = Bytes(piece),
                               .written = Bytes(scatters ? bytes : 0),
                               .read = Bytes(scatters ? 0 : bytes),
                               .scatter = scatters,
                               .accumulates = adds,
                               .table = Bytes(table)};
  const model::KernelTime time = model::cost(work, runtime::chip_of(stream));
  return {time.bytes_read, time.bytes_written};
}

void record_fused_kernel(const std::pair<std::string, int>& where, const std::string& format,
                         const std::vector<Sweep>& sweeps, const Traffic& traffic,
                         const Rows& rows) {
  const runtime::StreamId stream = runtime::current_stream(where.second);
  const runtime::LaunchSite site{runtime::intern(where.first), stream};
  auto [read, written] = std::pair(Bytes(std::get<0>(traffic)), Bytes(std::get<1>(traffic)));
  for (const Pieces& pieces : std::get<2>(traffic)) {
    const auto [in, out] = moved(pieces, stream);
    read += in;
    written += out;
  }
  const auto& [row_count, columns, reductions, passes] = rows;
  const Instructions each = combine(sweeps, row_count * columns);
  if (row_count == 0) {
    runtime::record(site, model::VectorWork{.elements = each.elements,
                                            .read = read,
                                            .written = written,
                                            .compute = format_named(format),
                                            .linear_ops = each.linear,
                                            .special_ops = each.special});
    return;
  }
  runtime::record(site, model::RowWork{.rows = row_count,
                                       .columns = columns,
                                       .read = read,
                                       .written = written,
                                       .compute = format_named(format),
                                       .linear_ops = each.linear,
                                       .special_ops = each.special,
                                       .reductions = count(reductions),
                                       .passes = count(passes)});
}

}  // namespace

void bind_fused_kernel(pybind11::module_& module) {
  const auto where = pybind11::arg("where");
  module.def("record_fused_kernel", &record_fused_kernel, where, pybind11::arg("format"),
             pybind11::arg("sweeps"), pybind11::arg("traffic"), pybind11::arg("rows"));
}

}  // namespace npu_sim::python
