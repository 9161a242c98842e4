#include "ops/moe/moved_rows.h"

#include <c10/core/ScalarType.h>

namespace npu_sim::ops {
namespace {

struct Bytes {
  base::Bytes index{};  // of integers: the places
  base::Bytes other{};  // of floats besides the table
};

Bytes read_bytes(const aten::Call& call, const at::Tensor& table) {
  Bytes bytes;
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    const at::Tensor& tensor = aten::tensor_at(call, i);
    if (!tensor.defined() || tensor.is_same(table)) continue;
    const bool places = c10::isIntegralType(tensor.scalar_type(), /*includeBool=*/true);
    (places ? bytes.index : bytes.other) += aten::bytes_of(tensor);
  }
  return bytes;
}

}  // namespace

model::Work moved_rows(const aten::Call& call, const MovedRows& moved) {
  const Bytes bytes = read_bytes(call, moved.table);
  const std::int64_t row = aten::slice_after(moved.table, moved.table.dim() - 2);
  const base::Bytes item{row * static_cast<std::int64_t>(moved.table.element_size())};
  return model::GatherWork{.items = moved.items,
                           .item = item,
                           .index = bytes.index,
                           .written = aten::traffic_of(call).written,
                           .read = bytes.other + item * moved.items,
                           .table = aten::bytes_of(moved.table),
                           .one_by_one = moved.one_by_one,
                           .scalars = moved.scalars};
}

model::Work sorted_choices(const at::Tensor& choices) {
  const std::int64_t count = aten::elements_of(choices);
  if (count == 0) return model::NoWork{};
  return model::SortWork{.rows = 1,
                         .columns = count,
                         .k = count,
                         .format = aten::format_of(choices),
                         .written = base::Bytes{count * 4}};  // the order, as int32
}

}  // namespace npu_sim::ops
