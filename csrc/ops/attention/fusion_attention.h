// Steps of the training attention operators.
#pragma once

#include <tuple>

#include "ops/attention/fusion.h"
#include "ops/attention/statistics.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {

struct FusionForward {
  at::Tensor out;
  StatisticsTensors statistics;  // [..., 8]
};

// Of a call that `check` has passed; meta tensors get shapes alone.
[[nodiscard]] FusionForward fusion_forward(const Fusion& on);

// What the backward operators take besides the operands.
struct FusionResults {
  at::Tensor grad;
  at::Tensor out;
  StatisticsTensors statistics;  // [..., 8]
};

struct FusionGradients {
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  at::Tensor bias;  // undefined: no pse
  at::Tensor query_rope;
  at::Tensor key_rope;
  at::Tensor sink;  // empty: no sink
};

// Of a call that `check` has passed. Raises ValueError or TypeError on results that do not fit.
[[nodiscard]] FusionGradients fusion_backward(const Fusion& on, const FusionResults& results);

}  // namespace npu_sim::ops
