// Attention of one query token to keys chosen for it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ops/sparse/sequences.h"

namespace npu_sim::ops {

// Positions that a row of `count` block indices names: blocks of `block_size` tokens up to the
// first negative index, as far as positions are below `limit`, the keys that the query may see.
[[nodiscard]] Integers selected_positions(const std::int32_t* blocks, std::int64_t count,
                                          std::int64_t block_size, std::int64_t limit);

struct Attended {
  at::Tensor out;      // [heads, value width]
  at::Tensor largest;  // [heads], the greatest score: of the keys, and of the sink
  at::Tensor sum;      // [heads], of exp(score - largest)
};

// softmax(query key^T scale) value, all fp32: query [heads, width], key [keys, width], value
// [keys, value width]; `sink` [heads] (or undefined) is a further score without a value. Without
// keys the result is 0.
[[nodiscard]] Attended attend(const at::Tensor& query, const at::Tensor& key,
                              const at::Tensor& value, double scale, const at::Tensor& sink);

}  // namespace npu_sim::ops
