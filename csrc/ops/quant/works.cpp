#include "ops/quant/works.h"

#include <algorithm>
#include <numeric>

#include "aten/describe/values.h"

namespace npu_sim::ops {
namespace {

std::int64_t rows_of(const at::Tensor& tensor) {
  return aten::ratio(aten::elements_of(tensor), aten::size_along(tensor, -1));
}

// The bytes of `part` of `all` rows.
base::Bytes share(base::Bytes bytes, std::int64_t part, std::int64_t all) {
  if (part == all) return bytes;
  return base::Bytes(static_cast<std::int64_t>(
      static_cast<double>(bytes.count()) * static_cast<double>(part) / static_cast<double>(all)));
}

}  // namespace

std::int64_t covered_rows(const aten::Call& call, const GroupsAt& groups) {
  const std::int64_t rows = rows_of(aten::tensor_at(call, 0));
  const auto list = aten::integers_at(call, groups.list);
  if (!list.has_value() || list->empty()) return rows;
  const std::int64_t covered =
      groups.counts ? std::accumulate(list->begin(), list->end(), std::int64_t{0}) : list->back();
  return std::clamp<std::int64_t>(covered, 0, rows);
}

model::Work gated_work(const aten::Call& call, std::int64_t rows, const GatedCost& cost) {
  const at::Tensor& input = aten::tensor_at(call, 0);
  const std::int64_t all = rows_of(input);
  if (rows == 0) return model::NoWork{};
  const aten::Traffic traffic = aten::traffic_of(call);
  const base::Bytes read = share(traffic.read, rows, all);
  const base::Bytes written = share(traffic.written, rows, all);
  const std::int64_t columns = aten::size_along(input, -1) / 2;
  if (!cost.rows) {
    return model::VectorWork{.elements = rows * columns,
                             .read = read,
                             .written = written,
                             .linear_ops = aten::instructions(cost.linear),
                             .special_ops = aten::instructions(cost.special)};
  }
  return model::RowWork{.rows = rows,
                        .columns = columns,
                        .read = read,
                        .written = written,
                        .linear_ops = aten::instructions(cost.linear),
                        .special_ops = aten::instructions(cost.special),
                        .reductions = 1,
                        .passes = 2};
}

}  // namespace npu_sim::ops
