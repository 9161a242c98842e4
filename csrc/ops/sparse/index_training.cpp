// The operators that train the lightning indexer: npu_dense_lightning_indexer_softmax_lse,
// npu_dense_lightning_indexer_grad_kl_loss and npu_sparse_lightning_indexer_grad_kl_loss.
//
// Dense ones look at all visible keys, the sparse one at those that sparse_indices names. Lengths
// in TND are running sums. With sinks the target is normalised to a sum of 1. Source:
// op-plugin@517f2e7d, docs and tests.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/sparse/index_loss.h"
#include "ops/sparse/selected_attention.h"
#include "ops/sparse/selected_work.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

// --- work: scores never leave the chip, so each part is an attention without values.
struct Part {
  std::size_t query;
  std::size_t key;
  std::size_t rope;  // an argument that is no tensor: none
  bool backward;
};

model::Work dense_part(const aten::Call& call, SpanArguments where, std::size_t mode,
                       const Part& part) {
  where.query = part.query;
  where.key = part.key;
  const at::Tensor& query = call.argument(part.query);
  const at::Tensor& rope = aten::tensor_at(call, part.rope);
  model::AttentionWork work = even_work(spans_of(call, where), aten::integer_at(call, mode, 3));
  work.q_heads = aten::size_along(query, -2);
  work.kv_heads = aten::size_along(call.argument(part.key), -2);
  work.qk_dim = aten::size_along(query, -1) + (rope.defined() ? aten::size_along(rope, -1) : 0);
  work.format = aten::format_of(query);
  work.backward = part.backward;
  return work;
}
constexpr std::size_t kNone = 99;
constexpr SpanArguments kLse{
    .query_lengths = 3, .key_lengths = 4, .query_layout = 5, .key_layout = 5, .block_table = kNone};
constexpr SpanArguments kDense{.query_lengths = 12,
                               .key_lengths = 13,
                               .query_layout = 14,
                               .key_layout = 14,
                               .block_table = kNone};
constexpr SpanArguments kSparse{.query_lengths = 11,
                                .key_lengths = 12,
                                .query_layout = 13,
                                .key_layout = 13,
                                .block_table = kNone};
model::Work lse_work(const aten::Call& call) {
  return dense_part(call, kLse, 6, {.query = 0, .key = 1, .rope = kNone, .backward = false});
}
model::Work dense_target_work(const aten::Call& call) {
  return dense_part(call, kDense, 15, {.query = 0, .key = 1, .rope = 10, .backward = false});
}
model::Work dense_index_work(const aten::Call& call) {
  return dense_part(call, kDense, 15, {.query = 2, .key = 3, .rope = kNone, .backward = true});
}
model::Work sparse_part(const aten::Call& call, std::size_t query, std::size_t rope,
                        bool backward) {
  const at::Tensor& q = call.argument(query);
  const at::Tensor& r = aten::tensor_at(call, rope);
  return selected_work(
      call, kSparse,
      {.query = query,
       .indices = 5,
       .sparse_mode = 14,
       .block_size = 1,
       .qk_dim = aten::size_along(q, -1) + (r.defined() ? aten::size_along(r, -1) : 0),
       .v_dim = 0,
       .format = aten::format_of(q),
       .backward = backward});
}
model::Work sparse_target_work(const aten::Call& call) { return sparse_part(call, 0, 9, false); }
model::Work sparse_index_work(const aten::Call& call) { return sparse_part(call, 2, kNone, true); }
constexpr aten::Describer kDenseRest[] = {dense_index_work};
constexpr aten::Describer kSparseRest[] = {sparse_index_work};
constexpr aten::Entry kEntries[] = {
    {"npu_dense_lightning_indexer_softmax_lse", lse_work},
    {"npu_dense_lightning_indexer_grad_kl_loss", dense_target_work, kDenseRest},
    {"npu_sparse_lightning_indexer_grad_kl_loss", sparse_target_work, kSparseRest},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();

struct Mask {
  std::optional<std::int64_t> sparse_mode;
  std::optional<std::int64_t> pre_tokens;
  std::optional<std::int64_t> next_tokens;
  [[nodiscard]] std::int64_t mode() const { return sparse_mode.value_or(3); }
};

void check_mask(const char* op, const Mask& mask) {
  check_masking(op, {mask.mode(), mask.pre_tokens.value_or(kAll), mask.next_tokens.value_or(kAll)});
}

std::optional<Integers> integers_of(const at::OptionalIntArrayRef& list) {
  return list.has_value() ? std::optional(list->vec()) : std::nullopt;
}

struct Tokens {
  std::vector<Sequence> queries;
  Keys keys;
};

Tokens tokens_of(const LossOperands& on, const at::OptionalIntArrayRef& query_lengths,
                 const at::OptionalIntArrayRef& key_lengths) {
  std::vector<Sequence> queries =
      query_sequences({.op = on.op, .argument = "actual_seq_qlen"}, on.query_index, on.layout,
                      integers_of(query_lengths));
  Keys keys({.op = on.op, .name = on.layout, .lengths = "actual_seq_klen"}, on.key_index,
            integers_of(key_lengths), MaybeTensor(), std::ssize(queries));
  return {.queries = std::move(queries), .keys = std::move(keys)};
}

at::Tensor rows_of(const at::Tensor& tensor) { return tensor.flatten(0, -3); }

// --- compute
// Which keys the queries from `first` on see: [count, keys].
at::Tensor seen_by(const Mask& mask, const Sequence& queries, std::int64_t keys, std::int64_t first,
                   std::int64_t count) {
  Integers limits;
  for (std::int64_t i = first; i < first + count; ++i) {
    limits.push_back(visible(mask.mode(), keys, queries.length, i));
  }
  const at::Tensor ends = at::tensor(limits, at::kLong).unsqueeze(-1);
  return at::arange(keys, at::kLong) < ends;
}

using Two = std::tuple<at::Tensor, at::Tensor>;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

void check_index(const LossOperands& on) {
  check_layouts(on.op, on.layout, on.layout);
  const std::int64_t axes = on.layout == "TND" ? 3 : 4;
  TORCH_CHECK_VALUE(on.query_index.dim() == axes && on.key_index.dim() == axes &&
                        on.query_index.numel() > 0 && on.key_index.numel() > 0,
                    on.op, ": expected query_index and key_index of ", axes, " axes in layout ",
                    on.layout, ", none of them empty, got ", on.query_index.sizes(), " and ",
                    on.key_index.sizes());
  TORCH_CHECK_VALUE(on.key_index.size(-2) == 1 && on.key_index.size(-1) == on.query_index.size(-1),
                    on.op, ": expected key_index of one head as wide as query_index's ",
                    on.query_index.size(-1), ", got ", on.key_index.sizes());
  TORCH_CHECK_VALUE(on.weights.sizes() == on.query_index.sizes().slice(0, axes - 1), on.op,
                    ": expected weights of ", on.query_index.sizes().slice(0, axes - 1), ", got ",
                    on.weights.sizes());
  TORCH_CHECK_TYPE(on.query_index.is_floating_point() && on.key_index.is_floating_point(), on.op,
                   ": expected query_index and key_index of a float dtype, got ",
                   on.query_index.scalar_type(), " and ", on.key_index.scalar_type());
}

std::vector<std::int64_t> lse_sizes(const LossOperands& on) {
  if (on.layout == "TND") return {1, on.query_index.size(0)};
  return {on.query_index.size(0), 1, on.query_index.size(1)};
}

IndexBlock block_of(const LossOperands& on, const Tokens& tokens, std::int64_t s) {
  const Sequence& queries = tokens.queries[static_cast<std::size_t>(s)];
  return {.query = widened(rows_of(on.query_index).narrow(0, queries.first, queries.length)),
          .weights = widened(on.weights.flatten(0, -2).narrow(0, queries.first, queries.length)),
          .key = widened(tokens.keys.all_rows(on.key_index, s, 0))};
}

Two dense_softmax_lse(const at::Tensor& query_index, const at::Tensor& key_index,
                      const at::Tensor& weights, at::OptionalIntArrayRef actual_seq_qlen,
                      at::OptionalIntArrayRef actual_seq_klen,
                      std::optional<c10::string_view> layout,
                      std::optional<std::int64_t> sparse_mode,
                      std::optional<std::int64_t> pre_tokens,
                      std::optional<std::int64_t> next_tokens) {
  LossOperands on{.op = "npu_dense_lightning_indexer_softmax_lse"};
  on.query_index = query_index;
  on.key_index = key_index;
  on.weights = weights;
  on.layout = layout.value_or("BSND");
  const Mask mask{sparse_mode, pre_tokens, next_tokens};
  check_index(on);
  check_mask(on.op, mask);
  const auto floats = query_index.options().dtype(at::kFloat);
  const at::Tensor largest = at::zeros(lse_sizes(on), floats);
  const at::Tensor sum = at::zeros(lse_sizes(on), floats);
  if (query_index.is_meta()) return {largest, sum};
  const Tokens tokens = tokens_of(on, actual_seq_qlen, actual_seq_klen);
  for (std::int64_t s = 0; s < std::ssize(tokens.queries); ++s) {
    const Sequence& queries = tokens.queries[static_cast<std::size_t>(s)];
    if (queries.length == 0 || tokens.keys.length(s) == 0) continue;
    const IndexBlock block = block_of(on, tokens, s);
    for_index_scores(block, [&](std::int64_t first, const at::Tensor& scores) {
      const std::int64_t count = scores.size(0);
      const at::Tensor masked =
          scores.masked_fill(seen_by(mask, queries, scores.size(1), first, count).logical_not(),
                             -std::numeric_limits<double>::infinity());
      const at::Tensor most = masked.amax(-1);
      largest.view(-1).narrow(0, queries.first + first, count).copy_(most);
      sum.view(-1)
          .narrow(0, queries.first + first, count)
          .copy_((masked - most.unsqueeze(-1)).exp().sum(-1));
    });
  }
  return {largest, sum};
}

struct Sums {
  at::Tensor query;
  at::Tensor key;
  at::Tensor weights;
  at::Tensor loss;
};

Sums new_sums(const LossOperands& on) {
  const auto floats = on.query.options().dtype(at::kFloat);
  return {.query = at::zeros(rows_of(on.query_index).sizes(), floats),
          .key = at::zeros({on.key_index.numel() / on.key_index.size(-1), on.key_index.size(-1)},
                           floats),
          .weights = at::zeros(on.weights.flatten(0, -2).sizes(), floats),
          .loss = at::zeros({1}, floats)};
}

Four results(const LossOperands& on, const Sums& sums) {
  return {sums.query.view(on.query_index.sizes()).to(on.query_index.scalar_type()),
          sums.key.view(on.key_index.sizes()).to(on.key_index.scalar_type()),
          sums.weights.view(on.weights.sizes()).to(on.weights.scalar_type()), sums.loss};
}

Four empty_results(const LossOperands& on) {
  return {at::empty_like(on.query_index), at::empty_like(on.key_index), at::empty_like(on.weights),
          at::empty({1}, on.query.options().dtype(at::kFloat))};
}

// Keys of all heads of the main attention: [key heads, keys, width].
at::Tensor main_keys(const LossOperands& on, const Tokens& tokens, std::int64_t s,
                     const Integers& positions) {
  std::vector<at::Tensor> heads;
  heads.reserve(static_cast<std::size_t>(on.key.size(-2)));
  for (std::int64_t h = 0; h < on.key.size(-2); ++h) {
    heads.push_back(widened(tokens.keys.rows(on.key, s, positions, h)));
  }
  return at::stack(heads);
}

struct DenseStatistics {
  at::Tensor largest;
  at::Tensor sum;
};

// One step of few queries, so that products of all heads stay small.
void dense_sequence(const LossOperands& on, const Tokens& tokens, std::int64_t s,
                    const std::tuple<double, Mask, DenseStatistics>& how, const Sums& sums) {
  const auto& [scale, mask, index] = how;
  const Sequence& queries = tokens.queries[static_cast<std::size_t>(s)];
  const std::int64_t keys = tokens.keys.length(s);
  if (queries.length == 0 || keys == 0) return;
  Integers positions(static_cast<std::size_t>(keys));
  for (std::int64_t j = 0; j < keys; ++j) positions[static_cast<std::size_t>(j)] = j;
  const at::Tensor main = main_keys(on, tokens, s, positions);
  const at::Tensor into = tokens.keys.flat_places(s, positions);
  const IndexBlock whole = block_of(on, tokens, s);
  constexpr std::int64_t kProducts = 1 << 20;
  const std::int64_t heads = std::max(on.query.size(-2), on.query_index.size(-2));
  const std::int64_t step = std::max<std::int64_t>(1, kProducts / (heads * keys));
  for (std::int64_t first = 0; first < queries.length; first += step) {
    const std::int64_t count = std::min(step, queries.length - first);
    const std::int64_t row = queries.first + first;
    const at::Tensor seen = seen_by(mask, queries, keys, first, count);
    const at::Tensor target = target_of({.query = widened(rows_of(on.query).narrow(0, row, count)),
                                         .key = main,
                                         .largest = on.largest.narrow(0, row, count),
                                         .sum = on.sum.narrow(0, row, count),
                                         .scale = scale},
                                        seen);
    const IndexGradients part = index_gradients(
        {.query = whole.query.narrow(0, first, count),
         .weights = whole.weights.narrow(0, first, count),
         .key = whole.key},
        target, seen,
        {.largest = index.largest.narrow(0, row, count), .sum = index.sum.narrow(0, row, count)},
        on.query_index.scalar_type());
    sums.query.narrow(0, row, count).copy_(part.query);
    sums.weights.narrow(0, row, count).copy_(part.weights);
    sums.key.index_add_(0, into, part.key);
    sums.loss.add_(part.loss);
  }
}

LossOperands operands_of(const char* op, const std::array<at::Tensor, 7>& tensors,
                         const std::array<MaybeTensor, 2>& ropes,
                         const std::optional<c10::string_view>& layout) {
  const auto& [query, key, query_index, key_index, weights, largest, sum] = tensors;
  LossOperands on{.op = op};
  on.query = joined(op, query, ropes[0]);
  on.key = joined(op, key, ropes[1]);
  on.query_index = query_index;
  on.key_index = key_index;
  on.weights = weights;
  on.largest = largest;
  on.sum = sum;
  on.layout = layout.has_value() ? std::string_view(*layout) : "BSND";
  check_loss(on);
  on.largest = statistics_by_token(largest);
  on.sum = statistics_by_token(sum);
  return on;
}

Four dense_grad_kl_loss(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& query_index,
    const at::Tensor& key_index, const at::Tensor& weights, const at::Tensor& softmax_max,
    const at::Tensor& softmax_sum, const at::Tensor& softmax_max_index,
    const at::Tensor& softmax_sum_index, double scale_value, const MaybeTensor& query_rope,
    const MaybeTensor& key_rope, at::OptionalIntArrayRef actual_seq_qlen,
    at::OptionalIntArrayRef actual_seq_klen, std::optional<c10::string_view> layout,
    std::optional<std::int64_t> sparse_mode, std::optional<std::int64_t> pre_tokens,
    std::optional<std::int64_t> next_tokens) {
  const LossOperands on =
      operands_of("npu_dense_lightning_indexer_grad_kl_loss",
                  {query, key, query_index, key_index, weights, softmax_max, softmax_sum},
                  {query_rope, key_rope}, layout);
  const Mask mask{sparse_mode, pre_tokens, next_tokens};
  check_mask(on.op, mask);
  const std::vector<std::int64_t> sizes = lse_sizes(on);
  TORCH_CHECK_VALUE(softmax_max_index.sizes() == sizes && softmax_sum_index.sizes() == sizes, on.op,
                    ": expected softmax_max_index and softmax_sum_index of ",
                    at::IntArrayRef(sizes), ", got ", softmax_max_index.sizes(), " and ",
                    softmax_sum_index.sizes());
  if (query.is_meta()) return empty_results(on);
  const Tokens tokens = tokens_of(on, actual_seq_qlen, actual_seq_klen);
  const Sums sums = new_sums(on);
  const DenseStatistics index{.largest = softmax_max_index.reshape(-1),
                              .sum = softmax_sum_index.reshape(-1)};
  for (std::int64_t s = 0; s < std::ssize(tokens.queries); ++s) {
    dense_sequence(on, tokens, s, {scale_value, mask, index}, sums);
  }
  return results(on, sums);
}

struct SparseQuery {
  std::int64_t sequence;
  std::int64_t row;
  Integers positions;
  double scale;
  bool normalises;
};

void sparse_query(const LossOperands& on, const Tokens& tokens, const SparseQuery& at,
                  const Sums& sums) {
  if (at.positions.empty()) return;
  const auto keys = static_cast<std::int64_t>(at.positions.size());
  const at::Tensor seen = at::ones({1, keys}, at::kBool);
  const at::Tensor target = target_of({.query = widened(rows_of(on.query).narrow(0, at.row, 1)),
                                       .key = main_keys(on, tokens, at.sequence, at.positions),
                                       .largest = on.largest.narrow(0, at.row, 1),
                                       .sum = on.sum.narrow(0, at.row, 1),
                                       .scale = at.scale,
                                       .normalises = at.normalises},
                                      seen);
  const IndexGradients part = index_gradients(
      {.query = widened(rows_of(on.query_index).narrow(0, at.row, 1)),
       .weights = widened(on.weights.flatten(0, -2).narrow(0, at.row, 1)),
       .key = widened(tokens.keys.rows(on.key_index, at.sequence, at.positions, 0))},
      target, seen, {}, on.query_index.scalar_type());
  sums.query.narrow(0, at.row, 1).copy_(part.query);
  sums.weights.narrow(0, at.row, 1).copy_(part.weights);
  sums.key.index_add_(0, tokens.keys.flat_places(at.sequence, at.positions), part.key);
  sums.loss.add_(part.loss);
}

void check_indices(const LossOperands& on, const at::Tensor& indices) {
  std::vector<std::int64_t> sizes = on.query_index.sizes().vec();
  sizes[sizes.size() - 2] = 1;
  sizes.back() = indices.dim() == on.query_index.dim() ? indices.size(-1) : 0;
  TORCH_CHECK_VALUE(indices.sizes() == sizes, on.op,
                    ": expected sparse_indices of query_index's tokens and one head, got ",
                    indices.sizes(), " for ", on.query_index.sizes());
  TORCH_CHECK_TYPE(indices.scalar_type() == at::kInt, on.op,
                   ": expected sparse_indices of int32, got ", indices.scalar_type());
}

Four sparse_grad_kl_loss(const at::Tensor& query, const at::Tensor& key,
                         const at::Tensor& query_index, const at::Tensor& key_index,
                         const at::Tensor& weights, const at::Tensor& sparse_indices,
                         const at::Tensor& softmax_max, const at::Tensor& softmax_sum,
                         double scale_value, const MaybeTensor& query_rope,
                         const MaybeTensor& key_rope, at::OptionalIntArrayRef actual_seq_qlen,
                         at::OptionalIntArrayRef actual_seq_klen,
                         std::optional<c10::string_view> layout,
                         std::optional<std::int64_t> sparse_mode,
                         std::optional<std::int64_t> pre_tokens,
                         std::optional<std::int64_t> next_tokens, const MaybeTensor& sinks) {
  const LossOperands on =
      operands_of("npu_sparse_lightning_indexer_grad_kl_loss",
                  {query, key, query_index, key_index, weights, softmax_max, softmax_sum},
                  {query_rope, key_rope}, layout);
  const Mask mask{sparse_mode, pre_tokens, next_tokens};
  check_mask(on.op, mask);
  check_indices(on, sparse_indices);
  const bool has_sinks = given(sinks);
  TORCH_CHECK_VALUE(!has_sinks || sinks->dim() == 1, on.op, ": expected sinks of 1 axis");
  if (query.is_meta()) return empty_results(on);
  const Tokens tokens = tokens_of(on, actual_seq_qlen, actual_seq_klen);
  const Sums sums = new_sums(on);
  const at::Tensor indices = sparse_indices.contiguous();
  const std::int64_t count = indices.size(-1);
  const auto* const rows = indices.const_data_ptr<std::int32_t>();
  for (std::int64_t s = 0; s < std::ssize(tokens.queries); ++s) {
    const Sequence& queries = tokens.queries[static_cast<std::size_t>(s)];
    for (std::int64_t i = 0; i < queries.length; ++i) {
      const std::int64_t row = queries.first + i;
      const std::int64_t limit = visible(mask.mode(), tokens.keys.length(s), queries.length, i);
      sparse_query(
          on, tokens,
          {s, row, selected_positions(rows + row * count, count, 1, limit), scale_value, has_sinks},
          sums);
    }
  }
  return results(on, sums);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&dense_softmax_lse>(m, "npu_dense_lightning_indexer_softmax_lse");
  composed_kernel<&dense_grad_kl_loss>(m, "npu_dense_lightning_indexer_grad_kl_loss");
  composed_kernel<&sparse_grad_kl_loss>(m, "npu_sparse_lightning_indexer_grad_kl_loss");
}

}  // namespace
}  // namespace npu_sim::ops
