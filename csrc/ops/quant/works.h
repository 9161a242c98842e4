// Works of kernels that end with a quantisation. The counts are those that published kernel times
// bear out (torch_npu_sim/works/quant.py).
#pragma once

#include <cstddef>
#include <cstdint>

#include "aten/describe/vector_describers.h"

namespace npu_sim::ops {

// Rows of the last axis of argument 0, swept twice: for the scale, and for the codes.
template <int linear, int special = 0>
model::Work quantized_rows(const aten::Call& call) {
  const aten::Traffic traffic = aten::traffic_of(call);
  const at::Tensor& input = aten::tensor_at(call, 0);
  const std::int64_t columns = aten::size_along(input, -1);
  return model::RowWork{.rows = aten::ratio(aten::elements_of(input), columns),
                        .columns = columns,
                        .read = traffic.read,
                        .written = traffic.written,
                        .linear_ops = linear,
                        .special_ops = special,
                        .reductions = 1,
                        .passes = 2};
}

// Each element of argument 0 once: a block stays on the chip between its scale and its codes.
template <int linear, int special = 0>
model::Work quantized_blocks(const aten::Call& call) {
  const aten::Traffic traffic = aten::traffic_of(call);
  return model::VectorWork{.elements = aten::elements_of(aten::tensor_at(call, 0)),
                           .read = traffic.read,
                           .written = traffic.written,
                           .linear_ops = linear,
                           .special_ops = special};
}

// Which argument lists groups of rows, and whether it counts them.
struct GroupsAt {
  std::size_t list = 0;
  bool counts = false;
};

// Rows (all axes but the last as one) of argument 0 that the groups cover; all of them where no
// list is given or its values are not there.
[[nodiscard]] std::int64_t covered_rows(const aten::Call& call, const GroupsAt& groups);

struct GatedCost {
  int linear = 0;  // instructions an element of the gated product
  int special = 0;
  bool rows = false;  // swept twice, for a scale a row
};

// A gated activation of argument 0, half as many elements, and its quantisation, over `rows` rows.
[[nodiscard]] model::Work gated_work(const aten::Call& call, std::int64_t rows,
                                     const GatedCost& cost);

}  // namespace npu_sim::ops
