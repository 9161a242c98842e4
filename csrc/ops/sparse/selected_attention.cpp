#include "ops/sparse/selected_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

namespace npu_sim::ops {

Integers selected_positions(const std::int32_t* blocks, std::int64_t count, std::int64_t block_size,
                            std::int64_t limit) {
  Integers positions;
  for (std::int64_t i = 0; i < count && blocks[i] >= 0; ++i) {
    const std::int64_t first = std::int64_t{blocks[i]} * block_size;
    const std::int64_t last = std::min(first + block_size, limit);
    for (std::int64_t j = first; j < last; ++j) positions.push_back(j);
  }
  return positions;
}

Attended attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                double scale, const at::Tensor& sink) {
  const std::int64_t heads = query.size(0);
  if (key.size(0) == 0) {
    const at::Tensor lowest =
        at::full({heads}, -std::numeric_limits<double>::infinity(), query.options());
    return {.out = at::zeros({heads, value.size(1)}, query.options()),
            .largest = lowest,
            .sum = at::zeros({heads}, query.options())};
  }
  const at::Tensor weights = at::matmul(query, key.t()).mul_(scale);
  at::Tensor largest = weights.amax(-1);
  if (sink.defined()) largest = at::maximum(largest, sink);
  weights.sub_(largest.unsqueeze(-1)).exp_();
  at::Tensor sum = weights.sum(-1);
  if (sink.defined()) sum = sum + (sink - largest).exp();
  return {
      .out = at::matmul(weights, value).div_(sum.unsqueeze(-1)), .largest = largest, .sum = sum};
}

}  // namespace npu_sim::ops
