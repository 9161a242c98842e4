// The gradient of tiled attention: weights are computed again, tile by tile, from the statistics of
// the forward pass.
#pragma once

#include <functional>
#include <span>

#include "ops/attention/flash.h"

namespace npu_sim::ops::flash {

// Where gradients go, in fp32; rows lie together. Query's is written, the others are added to.
struct Gradients {
  float* query = nullptr;  // [heads, queries, width]
  std::int64_t query_head_stride = 0;
  float* key = nullptr;    // [keys, width]
  float* value = nullptr;  // [keys, value width]
  float* sinks = nullptr;  // [heads]; null: not wanted
  // Takes the gradient of what Bias added in an area: rows `stride` elements apart. Empty: not
  // wanted.
  std::function<void(const Area& area, const float* rows, std::int64_t stride)> bias;
};

// The operands of the forward pass, with the statistics (greatest, sum) that it left; `problem.out`
// is not used.
struct BackwardProblem {
  Problem problem;
  Strided out;  // the result, of head 0: [queries, value width]
  std::int64_t out_head_stride = 0;
  Strided grad;  // its gradient
  std::int64_t grad_head_stride = 0;
  Gradients gradients;
};

// Computes all problems; those of one group run one after another, so that they may add to the same
// memory.
using Group = std::span<const BackwardProblem>;
void backward(std::span<const Group> groups);

}  // namespace npu_sim::ops::flash
