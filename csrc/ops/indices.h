// Checks of tensors that hold expert numbers or places of rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ops/format/element_of.h"

namespace npu_sim::ops {

// Raises TypeError unless `indices` is int32 or int64, IndexError unless every one lies in
// [low, high). A tensor without values (meta, empty) is not looked into.
void check_indices(ArgumentName name, const at::Tensor& indices, std::int64_t low,
                   std::int64_t high);

// The order that sorts `keys` (1-D integers) stably, int64.
[[nodiscard]] at::Tensor stable_order(const at::Tensor& keys);

// The permutation that undoes `order`: result[order[i]] = i, int64.
[[nodiscard]] at::Tensor inverse_order(const at::Tensor& order);

}  // namespace npu_sim::ops
