#include "aten/describe/vector_describers.h"

#include <algorithm>

namespace npu_sim::aten {

model::Work element_wise(const Call& call, int linear, int special) {
  const Traffic traffic = traffic_of(call);
  return model::VectorWork{.elements = traffic.elements,
                           .read = traffic.read,
                           .written = traffic.written,
                           .compute = traffic.compute,
                           .linear_ops = instructions(linear + traffic.converts),
                           .special_ops = instructions(special)};
}

model::Work row_wise(const Call& call, std::int64_t columns, const VectorCost& cost) {
  const Traffic traffic = traffic_of(call);
  const std::int64_t elements = std::max(elements_of(tensor_at(call, 0)), traffic.elements);
  return model::RowWork{.rows = ratio(elements, columns),
                        .columns = columns,
                        .read = traffic.read,
                        .written = traffic.written,
                        .compute = traffic.compute,
                        .linear_ops = instructions(cost.linear + traffic.converts),
                        .special_ops = instructions(cost.special),
                        .reductions = instructions(cost.reductions),
                        .passes = instructions(cost.passes)};
}

}  // namespace npu_sim::aten
