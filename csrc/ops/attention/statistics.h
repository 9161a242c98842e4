// softmax_max and softmax_sum of training attention as they lie in memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ops/integers.h"

namespace npu_sim::ops {

// They keep each value this many times.
constexpr std::int64_t kStatisticsCopies = 8;

// Lengths from running sums. Raises ValueError, as by `name`, unless they rise to `tokens` at most.
[[nodiscard]] Integers checked_lengths(ArgumentName name, const Integers& sums,
                                       std::int64_t tokens);

// `rows` [tokens, heads] of layout TND, whose memory is sequence after sequence of [heads, tokens],
// by token. What lies behind the last sequence stays.
// Source: MindSpeed, ring attention's flatten_softmax.
[[nodiscard]] at::Tensor statistics_by_token(const at::Tensor& rows, const Integers& lengths);

}  // namespace npu_sim::ops
