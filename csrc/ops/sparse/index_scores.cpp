#include "ops/sparse/index_scores.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <vector>

namespace npu_sim::ops {
namespace {

// Products held at once: 4 MiB in fp32, which stays in a core's cache.
constexpr std::int64_t kProducts = 1 << 20;

// Larger floats have larger keys; NaN has the largest.
std::uint32_t ordered(float value) {
  if (value != value) return std::numeric_limits<std::uint32_t>::max();
  constexpr std::uint32_t kSign = 1U << 31;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value + 0.0F);  // -0 becomes 0
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

IndexBlock queries_of(const IndexBlock& block, std::int64_t first, std::int64_t count) {
  IndexBlock part = block;
  part.query = block.query.narrow(0, first, count);
  part.weights = block.weights.narrow(0, first, count);
  if (block.query_scale.defined()) part.query_scale = block.query_scale.narrow(0, first, count);
  return part;
}

}  // namespace

at::Tensor index_products(const IndexBlock& block) {
  const std::int64_t queries = block.query.size(0);
  const std::int64_t heads = block.query.size(1);
  at::Tensor products =
      at::matmul(block.query.flatten(0, 1), block.key.t()).view({queries, heads, -1});
  if (block.query_scale.defined()) products.mul_(block.query_scale.unsqueeze(-1));
  if (block.key_scale.defined()) products.mul_(block.key_scale);
  return products;
}

at::Tensor index_scores(const IndexBlock& block) {
  return at::bmm(block.weights.unsqueeze(1), index_products(block).relu_()).squeeze(1);
}

void for_index_scores(const IndexBlock& block,
                      const std::function<void(std::int64_t, const at::Tensor&)>& take) {
  const std::int64_t queries = block.query.size(0);
  const std::int64_t a_query = std::max<std::int64_t>(1, block.query.size(1) * block.key.size(0));
  const std::int64_t step = std::max<std::int64_t>(1, kProducts / a_query);
  const std::int64_t steps = (queries + step - 1) / step;
  at::parallel_for(0, steps, 1, [&](std::int64_t begin, std::int64_t end) {
    const at::AutoDispatchBelowAutograd below;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t first = i * step;
      const std::int64_t count = std::min(step, queries - first);
      take(first, index_scores(queries_of(block, first, count)).contiguous());
    }
  });
}

void choose(const float* scores, std::int64_t count, const Choice& choice) {
  // One number orders by score, then by position.
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(count));
  for (std::int64_t j = 0; j < count; ++j) {
    const auto position = ~static_cast<std::uint32_t>(j);
    keys[static_cast<std::size_t>(j)] = std::uint64_t{ordered(scores[j])} << 32 | position;
  }
  const std::int64_t found = std::min(choice.best, count);
  const auto last = keys.begin() + found;
  if (found < count) std::nth_element(keys.begin(), last, keys.end(), std::greater<>());
  std::sort(keys.begin(), last, std::greater<>());
  for (std::int64_t i = 0; i < choice.best; ++i) {
    const bool chosen = i < found;
    const std::uint32_t position =
        chosen ? ~static_cast<std::uint32_t>(keys[static_cast<std::size_t>(i)]) : 0;
    choice.positions[i] = chosen ? static_cast<std::int32_t>(position) : -1;
    if (choice.values == nullptr) continue;
    choice.values[i] = chosen ? scores[position] : -std::numeric_limits<float>::infinity();
  }
}

}  // namespace npu_sim::ops
