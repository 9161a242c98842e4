// Works of kernels that normalise rows as long as their gamma.
#pragma once

#include "aten/describe/vector_describers.h"

namespace npu_sim::ops {

// Rows of as many elements as argument `gamma` has; all operands streamed once.
template <std::size_t gamma, aten::VectorCost cost>
model::Work normalized_rows(const aten::Call& call) {
  return aten::row_wise(call, aten::elements_of(aten::tensor_at(call, gamma)), cost);
}

}  // namespace npu_sim::ops
