// Works of kernels that end with a quantisation. The counts are those that published kernel times
// bear out (torch_npu_sim/works/quant.py).
#pragma once

#include <algorithm>

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

}  // namespace npu_sim::ops
