// Describers that differ only in how many vector instructions they spend: a family's table names
// the counts as template arguments.
//
// Counts are those of the usual vector routine of each function: one fused multiply-add is one
// full-rate instruction; exp, log, division, square root and their reciprocals are special ones.
// A function without an instruction of its own is counted as its range reduction, its polynomial
// or rational approximation of fp32 accuracy, and its selects.
#pragma once

#include "aten/describe/entry.h"
#include "aten/describe/operands.h"
#include "aten/describe/work_of.h"

namespace npu_sim::aten {

using work_of::VectorCost;

// All operands streamed once; converts between formats add one instruction each.
[[nodiscard]] model::Work element_wise(const Call& call, int linear, int special);

// Rows of `columns` elements of the largest operand; all operands streamed once.
[[nodiscard]] model::Work row_wise(const Call& call, std::int64_t columns, const VectorCost& cost);

template <int linear, int special = 0>
model::Work elements(const Call& call) {
  return element_wise(call, linear, special);
}

// Every result element reduces the same number of elements of argument 0.
template <VectorCost cost>
model::Work reduction(const Call& call) {
  const std::int64_t inputs = elements_of(tensor_at(call, 0));
  const std::int64_t outputs = elements_of(output_of(call));
  return row_wise(call, outputs == 0 ? inputs : inputs / outputs, cost);
}

// Rows along the axis that argument `dim` names, of argument 0.
template <std::size_t dim, VectorCost cost>
model::Work along(const Call& call) {
  return row_wise(call, size_along(tensor_at(call, 0), integer_at(call, dim, -1)), cost);
}

}  // namespace npu_sim::aten
