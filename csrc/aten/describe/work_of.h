// Work of the commonest kernels from tensors, for callers that know their operator: cheap enough
// (tens of ns) for an operator's fast path. Boxed calls use the describers of registry.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>

#include "aten/describe/operands.h"
#include "model/work/work.h"

namespace npu_sim::aten::work_of {

// Vector instructions an element, and cross-lane work a row.
struct VectorCost {
  int linear = 1;      // full-rate instructions an element
  int special = 0;     // quarter-rate instructions an element: exp, log, div, sqrt
  int reductions = 1;  // cross-lane reductions a row
  int passes = 1;      // sweeps over a row that does not fit the unified buffer
};

// An element-wise kernel that reads `inputs` and writes `out`. An in-place kernel names `out`
// among its inputs; an undefined input is skipped. Operands of another dtype than the widest add
// one convert each.
[[nodiscard]] model::Work pointwise(const at::Tensor& out,
                                    std::initializer_list<const at::Tensor*> inputs, int linear,
                                    int special);

// a @ b as torch.matmul has it; `bias` (optional) is read too. 1-D operands are vectors.
[[nodiscard]] model::Work matmul(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out,
                                 bool adds_input = false);

// input [..., k] @ weight [n, k]^T.
[[nodiscard]] model::Work linear(const at::Tensor& input, const at::Tensor& weight,
                                 const at::Tensor& out, bool adds_bias);

// Moves src's values into dst: within a card, to or from the host, or between cards. A change of
// dtype within a card is an element-wise convert.
[[nodiscard]] model::Work copy(const at::Tensor& dst, const at::Tensor& src);

// Writes a constant everywhere.
[[nodiscard]] model::Work fill(const at::Tensor& out);

// Independent rows of `columns` elements of `input`, written to `out`.
[[nodiscard]] model::Work rows(const at::Tensor& input, const at::Tensor& out, std::int64_t columns,
                               const VectorCost& cost);

// softmax or log_softmax along `dim`.
[[nodiscard]] model::Work softmax(const at::Tensor& input, const at::Tensor& out, std::int64_t dim);

// Layer norm over the last `columns` elements; weight and bias may be undefined.
[[nodiscard]] model::Work layer_norm(const at::Tensor& input, const at::Tensor& out,
                                     std::int64_t columns);

// input -> out by sum, mean, max ... of the elements that share an output.
[[nodiscard]] model::Work reduce(const at::Tensor& input, const at::Tensor& out,
                                 const VectorCost& cost = {});

// Rows picked from `table` by `index`, `slice` contiguous elements each (embedding, index_select).
[[nodiscard]] model::Work gather(const at::Tensor& out, const at::Tensor& index, std::int64_t slice,
                                 const at::Tensor& table);

// Concatenates `parts` into `out`: every part is a run of its own.
[[nodiscard]] model::Work concatenate(const at::Tensor& out, at::ArrayRef<at::Tensor> parts,
                                      std::int64_t dim);

}  // namespace npu_sim::aten::work_of
