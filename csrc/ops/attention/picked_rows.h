// Attention of a few queries to keys that were picked for them, on the tiles of flash.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ops/attention/flash.h"
#include "ops/attention/paged_source.h"
#include "ops/integers.h"

namespace npu_sim::ops {

// The rows of one head of `tensor`, seen heads first, at `positions` of a sequence, in their order.
// Rows must lie together, as in layouts other than NZ.
[[nodiscard]] flash::RowSource picked_rows(const at::Tensor& tensor, const Placement& placement,
                                           std::int64_t sequence, std::int64_t head,
                                           const Integers& positions);

// Queries [first, first + count) of heads [head, head + heads) of `query`, seen heads first, as the
// operand of a problem that writes to the same place of `out`.
struct PickedQueries {
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t heads = 1;
  std::int64_t first = 0;
  std::int64_t count = 1;
};
[[nodiscard]] flash::Problem problem_of(const at::Tensor& query, const at::Tensor& out,
                                        const PickedQueries& queries);

// fp32 gradients of one problem with weights p = exp(scale q k^T - lse): [queries, width] and so
// on.
struct PickedOperands {
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  at::Tensor out;
  at::Tensor grad;
  at::Tensor lse;  // [queries, 1]
  double scale = 1;
};
struct PickedGradients {
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
};
[[nodiscard]] PickedGradients picked_gradients(const PickedOperands& on);

}  // namespace npu_sim::ops
