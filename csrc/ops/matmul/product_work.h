// What a product of coded operands asks of the cube.
#pragma once

#include <initializer_list>

#include "aten/describe/operands.h"
#include "model/work/work.h"
#include "ops/matmul/product_arguments.h"

namespace npu_sim::ops {

// The operand at `index` of a call, in the format that the integer at `dtype_index` names.
[[nodiscard]] Coded operand_at(const aten::Call& call, std::size_t index, std::size_t dtype_index);

// The format that the cube reads: `mx` makes fp8 and fp4 the MX formats, whose scales count with
// them.
[[nodiscard]] base::Format product_format(const Coded& operand, bool mx);

// `work` that also reads the tensors at the indices `beside`: scales, biases, an accumulator.
[[nodiscard]] model::MatmulWork with_reads(model::MatmulWork work, const aten::Call& call,
                                           std::initializer_list<std::size_t> beside);

// [.., m, k] @ [.., k, n] into a result of the call, with what it reads beside.
[[nodiscard]] model::MatmulWork product_work(const aten::Call& call, const Coded& a, const Coded& b,
                                             bool mx, std::initializer_list<std::size_t> beside);

}  // namespace npu_sim::ops
