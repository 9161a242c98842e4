// The loss that trains the lightning indexer: the divergence of its softmax from the attention's.
//
//   p = sum over heads of exp(q . k scale - largest) / sum, over the number of heads
//   y = softmax of the indexer's scores
//   loss = sum of p (log max(p, 1e-8) - log max(y, 1e-8)),  d score = y - p
//
// Source: op-plugin@517f2e7d, test_npu_dense_lightning_indexer_grad_kl_loss.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>
#include <vector>

#include "ops/sparse/index_scores.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {

// Queries of the main attention and the keys they look at, fp32.
struct TargetBlock {
  at::Tensor query{};    // [queries, heads, width]
  at::Tensor key{};      // [key heads, keys, width]
  at::Tensor largest{};  // [queries, heads]
  at::Tensor sum{};      // [queries, heads]
  double scale = 1;
  bool normalises = false;  // p sums to 1, where a sink took a share
};

// p before the mean is masked: [queries, keys]; `seen` [queries, keys] is false where a key is not.
[[nodiscard]] at::Tensor target_of(const TargetBlock& block, const at::Tensor& seen);

struct IndexGradients {
  at::Tensor query;    // [queries, heads, width]
  at::Tensor weights;  // [queries, heads]
  at::Tensor key;      // [keys, width]
  at::Tensor loss;     // a number
};

// Statistics of the indexer's softmax [queries]; undefined ones are taken from the scores.
struct IndexStatistics {
  at::Tensor largest{};
  at::Tensor sum{};
};

// Gradients through the scores of `block`; what meets query and key is rounded to `dtype`.
[[nodiscard]] IndexGradients index_gradients(const IndexBlock& block, const at::Tensor& target,
                                             const at::Tensor& seen,
                                             const IndexStatistics& statistics,
                                             at::ScalarType dtype);

// [B, N2, S, G] or [N2, T, G] -> [tokens, N2 G].
[[nodiscard]] at::Tensor statistics_by_token(const at::Tensor& statistics);

// Operands both losses have.
struct LossOperands {
  const char* op = nullptr;
  at::Tensor query{};  // rope parts joined
  at::Tensor key{};
  at::Tensor query_index{};
  at::Tensor key_index{};
  at::Tensor weights{};
  at::Tensor largest{};  // statistics of the main softmax, once checked [tokens, heads]
  at::Tensor sum{};
  std::string_view layout = "BSND";
};

// `tensor` and, where there is one, its rope part behind it. Raises ValueError where they differ.
[[nodiscard]] at::Tensor joined(const char* op, const at::Tensor& tensor, const MaybeTensor& rope);

// Raises ValueError or TypeError unless the shapes and dtypes fit each other.
void check_loss(const LossOperands& on);

}  // namespace npu_sim::ops
