// What a product of coded operands asks of the cube.
#pragma once

#include <initializer_list>

#include "aten/describe/operands.h"
#include "model/work/work.h"
#include "ops/matmul/product_arguments.h"

namespace npu_sim::ops {

// The operand at `index` of a call, in the format that the integer at `dtype_index` names.
[[nodiscard]] Coded operand_at(const aten::Call& call, std::size_t index, std::size_t dtype_index);

// [.., m, k] @ [.., k, n] into a result of the call. `mx`: the operands are of the MX formats,
// whose scales count with them. Scales, biases and accumulators at the indices `beside` are read
// too.
[[nodiscard]] model::MatmulWork product_work(const aten::Call& call, const Coded& a, const Coded& b,
                                             bool mx, std::initializer_list<std::size_t> beside);

}  // namespace npu_sim::ops
