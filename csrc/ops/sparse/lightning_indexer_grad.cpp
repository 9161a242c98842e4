// npu_lightning_indexer_grad: gradients through the scores of the chosen keys.
//
// With s = q . k of the chosen keys: dw = sum over keys of relu(s) dy; with e = dy w where s > 0:
// dq = e k, dk adds e^T q. Source: op-plugin@517f2e7d, test_npu_lightning_indexer_grad.py.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"
#include "ops/sparse/selected_work.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

// --- work: products of each query with its own keys and back, as an attention without values.
constexpr SpanArguments kSpans{
    .query_lengths = 5, .key_lengths = 6, .query_layout = 7, .key_layout = 7, .block_table = 99};
model::Work grad_work(const aten::Call& call) {
  const at::Tensor& query = call.argument(0);
  return selected_work(call, kSpans,
                       {.indices = 3,
                        .sparse_mode = 8,
                        .block_size = 1,
                        .qk_dim = aten::size_along(query, -1),
                        .v_dim = 0,
                        .format = aten::format_of(query),
                        .backward = true});
}
constexpr aten::Entry kEntries[] = {{"npu_lightning_indexer_grad", grad_work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr const char* kOp = "npu_lightning_indexer_grad";

struct Operands {
  const at::Tensor& query;
  const at::Tensor& key;
  const at::Tensor& dy;
  const at::Tensor& indices;
  const at::Tensor& weights;
  std::string_view layout;
};

void check(const Operands& on) {
  check_layouts(kOp, on.layout, on.layout);
  const std::int64_t axes = on.layout == "TND" ? 3 : 4;
  TORCH_CHECK_VALUE(
      on.query.dim() == axes && on.key.dim() == axes && on.query.numel() > 0 && on.key.numel() > 0,
      kOp, ": expected query and key of ", axes, " axes in layout ", on.layout,
      ", none of them empty, got ", on.query.sizes(), " and ", on.key.sizes());
  TORCH_CHECK_VALUE(on.key.size(-2) == 1 && on.key.size(-1) == on.query.size(-1), kOp,
                    ": expected key of one head as wide as query's ", on.query.size(-1), ", got ",
                    on.key.sizes());
  TORCH_CHECK_VALUE(on.weights.sizes() == on.query.sizes().slice(0, axes - 1), kOp,
                    ": expected weights of ", on.query.sizes().slice(0, axes - 1), ", got ",
                    on.weights.sizes());
  std::vector<std::int64_t> chosen = on.query.sizes().vec();
  chosen[chosen.size() - 2] = 1;
  chosen.back() = on.indices.dim() == axes ? on.indices.size(-1) : 0;
  TORCH_CHECK_VALUE(on.indices.sizes() == chosen && on.dy.sizes() == chosen && chosen.back() > 0,
                    kOp, ": expected dy and sparse_indices of query's tokens and one head, got ",
                    on.dy.sizes(), " and ", on.indices.sizes(), " for query ", on.query.sizes());
  TORCH_CHECK_TYPE(on.indices.scalar_type() == at::kInt, kOp,
                   ": expected sparse_indices of int32, got ", on.indices.scalar_type());
  TORCH_CHECK_TYPE(on.query.is_floating_point() && on.key.is_floating_point() &&
                       on.weights.is_floating_point() && on.dy.is_floating_point(),
                   kOp, ": expected query, key, weights and dy of float dtypes");
}

// --- compute
struct Gradients {
  at::Tensor query;
  at::Tensor key;
  at::Tensor weights;
};

// Which of a token's choices are positions, and these.
struct Choices {
  Integers columns;
  Integers positions;
};

Choices choices_of(const std::int32_t* row, std::int64_t count, std::int64_t keys) {
  Choices choices;
  for (std::int64_t i = 0; i < count; ++i) {
    if (row[i] < 0) continue;
    TORCH_CHECK_INDEX(row[i] < keys, kOp, ": expected sparse_indices below ", keys,
                      ", the keys of its sequence, got ", row[i]);
    choices.columns.push_back(i);
    choices.positions.push_back(row[i]);
  }
  return choices;
}

struct Token {
  at::Tensor query;    // [heads, width]
  at::Tensor weights;  // [heads, 1]
  at::Tensor dy;       // [keys]
  at::Tensor keys;     // [keys, width]
};

struct TokenGradients {
  at::Tensor query;
  at::Tensor keys;
  at::Tensor weights;
};

TokenGradients through(const Token& token) {
  const at::Tensor s = at::matmul(token.query, token.keys.t());
  const at::Tensor e = (token.dy * token.weights).masked_fill(s <= 0, 0);
  return {.query = at::matmul(e, token.keys),
          .keys = at::matmul(e.t(), token.query),
          .weights = (s.relu() * token.dy).sum(-1)};
}

Gradients gradients_of(const Operands& on, const std::vector<Sequence>& sequences,
                       const Keys& keys) {
  const std::int64_t heads = on.query.size(-2);
  const std::int64_t width = on.query.size(-1);
  const std::int64_t count = on.indices.size(-1);
  const at::Tensor query = on.query.reshape({-1, heads, width});
  const at::Tensor weights = on.weights.reshape({-1, heads, 1});
  const at::Tensor dy = on.dy.reshape({-1, count});
  const at::Tensor indices = on.indices.contiguous();
  const auto floats = on.query.options().dtype(at::kFloat);
  const Gradients found{.query = at::zeros(query.sizes(), floats),
                        .key = at::zeros({on.key.numel() / width, width}, floats),
                        .weights = at::zeros({query.size(0), heads}, floats)};
  for (std::int64_t s = 0; s < std::ssize(sequences); ++s) {
    const Sequence& sequence = sequences[static_cast<std::size_t>(s)];
    for (std::int64_t row = sequence.first; row < sequence.first + sequence.length; ++row) {
      const Choices choices =
          choices_of(indices.const_data_ptr<std::int32_t>() + row * count, count, keys.length(s));
      if (choices.positions.empty()) continue;
      const TokenGradients part =
          through({.query = widened(query[row]),
                   .weights = widened(weights[row]),
                   .dy = widened(dy[row].index_select(0, at::tensor(choices.columns, at::kLong))),
                   .keys = widened(keys.rows(on.key, s, choices.positions, 0))});
      found.query[row].copy_(part.query);
      found.weights[row].copy_(part.weights);
      found.key.index_add_(0, keys.flat_places(s, choices.positions), part.keys);
    }
  }
  return found;
}

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

Three lightning_indexer_grad(const at::Tensor& query, const at::Tensor& key, const at::Tensor& dy,
                             const at::Tensor& sparse_indices, const at::Tensor& weights,
                             const MaybeTensor& actual_seq_lengths_query,
                             const MaybeTensor& actual_seq_lengths_key,
                             std::optional<c10::string_view> layout,
                             std::optional<std::int64_t> sparse_mode,
                             std::optional<std::int64_t> pre_tokens,
                             std::optional<std::int64_t> next_tokens) {
  const Operands on{query, key, dy, sparse_indices, weights, layout.value_or("BSND")};
  check(on);
  constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();
  check_masking(kOp,
                {sparse_mode.value_or(0), pre_tokens.value_or(kAll), next_tokens.value_or(kAll)});
  if (query.is_meta()) {
    return {at::empty_like(query), at::empty_like(key), at::empty_like(weights)};
  }
  const std::vector<Sequence> sequences =
      query_sequences({.op = kOp, .argument = "actual_seq_lengths_query"}, query, on.layout,
                      integers_if_given({.op = kOp, .argument = "actual_seq_lengths_query"},
                                        actual_seq_lengths_query));
  const Keys keys(
      {.op = kOp, .name = on.layout}, key,
      integers_if_given({.op = kOp, .argument = "actual_seq_lengths_key"}, actual_seq_lengths_key),
      MaybeTensor(), std::ssize(sequences));
  const Gradients found = gradients_of(on, sequences, keys);
  return {found.query.view(query.sizes()).to(query.scalar_type()),
          found.key.view(key.sizes()).to(key.scalar_type()),
          found.weights.view(weights.sizes()).to(weights.scalar_type())};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&lightning_indexer_grad>(m, "npu_lightning_indexer_grad");
}

}  // namespace
}  // namespace npu_sim::ops
