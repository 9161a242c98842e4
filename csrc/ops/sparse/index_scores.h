// The scores by which the lightning indexer chooses keys, and the choice.
//
//   score(i, j) = sum over heads g of w[i, g] relu(q[i, g] . k[j])
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace npu_sim::ops {

// Queries of one sequence with the keys that they may choose from, all fp32.
struct IndexBlock {
  at::Tensor query{};        // [queries, heads, width]
  at::Tensor weights{};      // [queries, heads]
  at::Tensor key{};          // [keys, width]
  at::Tensor query_scale{};  // [queries, heads]; undefined: 1
  at::Tensor key_scale{};    // [keys]; undefined: 1
};

// q . k of every head, scaled where there are scales, before relu: [queries, heads, keys].
[[nodiscard]] at::Tensor index_products(const IndexBlock& block);

// Scores of every key for every query: [queries, keys].
[[nodiscard]] at::Tensor index_scores(const IndexBlock& block);

// Calls `take(first, scores)` with the scores [queries, keys] of consecutive queries from `first`
// on, so few at once that products of all heads stay small. May call from several threads.
void for_index_scores(const IndexBlock& block,
                      const std::function<void(std::int64_t, const at::Tensor&)>& take);

// Where the `best` of `count` scores go: their positions, the highest first and the lower position
// first among equals; -1 from `count` on. A NaN counts as the highest.
struct Choice {
  std::int64_t best = 0;
  std::int32_t* positions = nullptr;
  float* values = nullptr;  // may be null; -inf from `count` on
};
void choose(const float* scores, std::int64_t count, const Choice& choice);

}  // namespace npu_sim::ops
