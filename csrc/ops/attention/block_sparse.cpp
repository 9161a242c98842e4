// npu_block_sparse_attention and its gradient: a block of queries attends to the blocks of keys
// that block_sparse_mask [batch, heads, query blocks, key blocks] marks.
//
// The cards before the Ascend 950 have these. Source: op-plugin@517f2e7d, docs and tests.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/attention/card_lacks.h"
#include "ops/attention/infer_layout.h"
#include "ops/attention/picked_rows.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: as if all blocks were marked, an upper bound; which are is not read.
model::Work work_of(const aten::Call& call, std::size_t query, std::size_t layout) {
  const at::Tensor& q = aten::tensor_at(call, query);
  const at::Tensor& k = aten::tensor_at(call, query + 1);
  const bool flat = call.arguments[layout].toStringRef() == "TND";
  const std::int64_t heads_axis = 1;
  const std::int64_t tokens_axis = flat ? 0 : 2;
  return model::AttentionWork{.batch = flat ? 1 : q.size(0),
                              .q_heads = q.size(heads_axis),
                              .kv_heads = k.size(heads_axis),
                              .q_len = q.size(tokens_axis),
                              .kv_len = k.size(tokens_axis),
                              .qk_dim = aten::size_along(q, -1),
                              .v_dim = aten::size_along(q, -1),
                              .format = aten::format_of(q),
                              .backward = query == 1};
}
model::Work forward_work(const aten::Call& call) { return work_of(call, 0, 5); }
model::Work backward_work(const aten::Call& call) { return work_of(call, 1, 10); }
constexpr aten::Entry kEntries[] = {
    {"npu_block_sparse_attention", forward_work},
    {"npu_block_sparse_attention_backward", backward_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using MaybeLengths = at::OptionalIntArrayRef;

struct Operands {
  const char* op;
  Axes axes = Axes::kTnd;
  at::Tensor query;  // heads first
  at::Tensor key;
  at::Tensor value;
  at::Tensor mask;  // [batch, heads, query blocks, key blocks], int8
  std::array<std::int64_t, 2> block{128, 128};
  std::vector<TokenSpan> queries;
  Placement keys;
  double scale = 0;
};

Axes axes_of(const char* op, std::string_view query, std::string_view key) {
  TORCH_CHECK_VALUE(query == "TND" || query == "BNSD", op,
                    ": expected q_input_layout TND or BNSD, got ", query);
  TORCH_CHECK_VALUE(key == query, op, ": expected kv_input_layout of q_input_layout's ", query,
                    ", got ", key);
  return query == "TND" ? Axes::kTnd : Axes::kBnsd;
}

void check_shapes(const Operands& on, std::int64_t kv_heads) {
  TORCH_CHECK_VALUE(on.key.size(1) == kv_heads && kv_heads > 0 && on.query.size(1) % kv_heads == 0,
                    on.op, ": expected num_key_value_heads that key has and that divides query's ",
                    on.query.size(1), " heads, got ", kv_heads, " for ", on.key.size(1));
  TORCH_CHECK_VALUE(on.key.sizes() == on.value.sizes() && on.key.size(3) == on.query.size(3) &&
                        on.key.size(0) == on.query.size(0),
                    on.op, ": expected key and value alike, of query's batch and width, got ",
                    on.key.sizes(), " and ", on.value.sizes());
}

void check_mask(const Operands& on) {
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  for (std::size_t s = 0; s < on.queries.size(); ++s) {
    queries = std::max(queries, on.queries[s].length);
    keys = std::max(keys, on.keys.spans[s].length);
  }
  const auto blocks = [](std::int64_t tokens, std::int64_t block) {
    return (tokens + block - 1) / block;
  };
  const bool fits = on.mask.dim() == 4 && on.mask.size(0) == std::ssize(on.queries) &&
                    on.mask.size(1) == on.query.size(1) &&
                    on.mask.size(2) >= blocks(queries, on.block[0]) &&
                    on.mask.size(3) >= blocks(keys, on.block[1]);
  TORCH_CHECK_VALUE(fits, on.op, ": expected block_sparse_mask of [", on.queries.size(), ", ",
                    on.query.size(1), ", ", blocks(queries, on.block[0]), ", ",
                    blocks(keys, on.block[1]), "], got ", on.mask.sizes());
  TORCH_CHECK_TYPE(on.mask.scalar_type() == at::kChar, on.op,
                   ": expected block_sparse_mask of int8, got ", on.mask.scalar_type());
}

// Lengths of every sequence, in TND too.
std::vector<TokenSpan> spans_of(const Operands& on, const char* argument,
                                const MaybeLengths& lengths, const at::Tensor& rows) {
  Lengths said{.name = {.op = on.op, .argument = argument}, .values = {}, .padding = {}};
  if (lengths.has_value()) said.values = Integers(lengths->begin(), lengths->end());
  if (said.values.has_value() && is_flat(on.axes)) {
    std::partial_sum(said.values->begin(), said.values->end(), said.values->begin());
  }
  return token_spans(said, on.axes, rows.sizes());
}

struct Arguments {
  const char* op;
  const at::Tensor& query;
  const at::Tensor& key;
  const at::Tensor& value;
  const at::Tensor& mask;
  at::OptionalIntArrayRef block_shape;
  MaybeLengths query_lengths;
  MaybeLengths key_lengths;
  std::string_view query_layout;
  std::string_view key_layout;
  std::int64_t kv_heads = 1;
  double scale = 0;
};

Operands operands_of(const Arguments& from) {
  Operands on{.op = from.op,
              .query = {},
              .key = {},
              .value = {},
              .mask = from.mask,
              .queries = {},
              .keys = {}};
  on.axes = axes_of(on.op, from.query_layout, from.key_layout);
  const at::ScalarType dtype = from.query.scalar_type();
  TORCH_CHECK_TYPE((dtype == at::kHalf || dtype == at::kBFloat16) &&
                       from.key.scalar_type() == dtype && from.value.scalar_type() == dtype,
                   on.op, ": expected query, key and value of float16 or bfloat16, all alike, got ",
                   dtype, ", ", from.key.scalar_type(), " and ", from.value.scalar_type());
  for (const at::Tensor* const x : {&from.query, &from.key, &from.value}) {
    TORCH_CHECK_VALUE(x->dim() == rank_of(on.axes), on.op, ": expected query, key and value of ",
                      rank_of(on.axes), " axes in layout ", from.query_layout, ", got ",
                      x->sizes());
  }
  if (from.block_shape.has_value()) {
    TORCH_CHECK_VALUE(
        from.block_shape->size() >= 2 && (*from.block_shape)[0] > 0 && (*from.block_shape)[1] > 0,
        on.op, ": expected block_shape of two sizes above 0, got ", *from.block_shape);
    on.block = {(*from.block_shape)[0], (*from.block_shape)[1]};
  }
  on.query = heads_first(from.query, on.axes, 1);
  on.key = heads_first(from.key, on.axes, 1);
  on.value = heads_first(from.value, on.axes, 1);
  on.scale = from.scale;
  check_shapes(on, from.kv_heads);
  on.queries = spans_of(on, "actual_seq_lengths", from.query_lengths, on.query);
  on.keys.spans = spans_of(on, "actual_seq_lengths_kv", from.key_lengths, on.key);
  TORCH_CHECK_VALUE(on.queries.size() == on.keys.spans.size(), on.op,
                    ": expected actual_seq_lengths_kv of ", on.queries.size(),
                    " sequences, as actual_seq_lengths has, got ", on.keys.spans.size());
  check_mask(on);
  on.mask = on.mask.contiguous();
  return on;
}

// Keys of one block of queries of one head.
Integers positions_of(const Operands& on, std::int64_t sequence, std::int64_t head,
                      std::int64_t query_block) {
  const std::int64_t columns = on.mask.size(3);
  const std::int64_t row = (sequence * on.mask.size(1) + head) * on.mask.size(2) + query_block;
  const auto* const marks = on.mask.const_data_ptr<std::int8_t>() + row * columns;
  const std::int64_t length = on.keys.length(sequence);
  Integers positions;
  for (std::int64_t j = 0; j < columns; ++j) {
    if (marks[j] == 0) continue;
    for (std::int64_t k = j * on.block[1]; k < std::min((j + 1) * on.block[1], length); ++k)
      positions.push_back(k);
  }
  return positions;
}

// Calls `take` for every block of queries of one head of one sequence.
template <class Take>
void for_blocks(const Operands& on, std::int64_t sequence, std::int64_t head, const Take& take) {
  const TokenSpan& span = on.queries[static_cast<std::size_t>(sequence)];
  for (std::int64_t first = 0; first < span.length; first += on.block[0]) {
    const std::int64_t count = std::min(on.block[0], span.length - first);
    take(
        PickedQueries{
            .batch = span.batch, .head = head, .first = span.first + first, .count = count},
        positions_of(on, sequence, head, first / on.block[0]));
  }
}

using Two = std::tuple<at::Tensor, at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

void attend_to_blocks(const Operands& on, const at::Tensor& out, const at::Tensor& lse) {
  std::vector<flash::Problem> problems;
  const std::int64_t shared = on.query.size(1) / on.key.size(1);
  for (std::int64_t s = 0; s < std::ssize(on.queries); ++s) {
    for (std::int64_t head = 0; head < on.query.size(1); ++head) {
      for_blocks(on, s, head, [&](const PickedQueries& queries, const Integers& positions) {
        flash::Problem problem = problem_of(on.query, out, queries);
        problem.keys = std::ssize(positions);
        problem.scale = static_cast<float>(on.scale);
        problem.key = picked_rows(on.key, on.keys, s, head / shared, positions);
        problem.value = picked_rows(on.value, on.keys, s, head / shared, positions);
        problem.statistics.lse = lse.mutable_data_ptr<float>() + queries.batch * lse.stride(0) +
                                 head * lse.stride(1) + queries.first * lse.stride(2);
        problem.statistics.row_stride = lse.stride(2);
        problems.push_back(std::move(problem));
      });
    }
  }
  flash::forward(problems);
}

Two block_sparse_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const at::Tensor& block_sparse_mask, at::IntArrayRef block_shape,
                           c10::string_view q_input_layout, c10::string_view kv_input_layout,
                           std::int64_t num_key_value_heads, double scale_value,
                           std::int64_t inner_precise, MaybeLengths actual_seq_lengths,
                           MaybeLengths actual_seq_lengths_kv,
                           std::optional<std::int64_t> /*softmax_lse_flag: always computed*/) {
  constexpr const char* kOp = "npu_block_sparse_attention";
  refuse_on_950(kOp, "npu_fused_infer_attention_score");
  TORCH_CHECK_VALUE(
      inner_precise == 0 || (inner_precise == 1 && query.scalar_type() != at::kBFloat16), kOp,
      ": expected inner_precise 0, or 1 of float16, got ", inner_precise);
  const Operands on = operands_of({kOp, query, key, value, block_sparse_mask, block_shape,
                                   actual_seq_lengths, actual_seq_lengths_kv, q_input_layout,
                                   kv_input_layout, num_key_value_heads, scale_value});
  const at::Tensor out = at::zeros(query.sizes(), query.options());
  std::vector<std::int64_t> sizes = query.sizes().vec();
  sizes.back() = 1;
  const at::Tensor lse = at::zeros(sizes, query.options().dtype(at::kFloat));
  if (!query.is_meta())
    attend_to_blocks(on, heads_first(out, on.axes, 1), heads_first(lse, on.axes, 1));
  return {out, lse};
}

// One key head of one sequence: blocks one after another, because they add to the same keys.
void add_gradients(const Operands& on, const std::array<at::Tensor, 3>& results,
                   std::int64_t sequence, std::int64_t kv_head,
                   const std::array<at::Tensor, 3>& to) {
  const std::int64_t shared = on.query.size(1) / on.key.size(1);
  const TokenSpan& keys = on.keys.spans[static_cast<std::size_t>(sequence)];
  const auto of_keys = [&](const at::Tensor& x) {
    return x.select(0, keys.batch).select(0, kv_head).narrow(0, keys.first, keys.length);
  };
  for (std::int64_t head = kv_head * shared; head < (kv_head + 1) * shared; ++head) {
    for_blocks(on, sequence, head, [&](const PickedQueries& queries, const Integers& positions) {
      if (positions.empty()) return;
      const auto of_queries = [&](const at::Tensor& x) {
        return x.select(0, queries.batch).select(0, head).narrow(0, queries.first, queries.count);
      };
      const at::Tensor places = at::tensor(positions, at::kLong);
      const PickedGradients found =
          picked_gradients({.query = widened(of_queries(on.query)),
                            .key = widened(of_keys(on.key).index_select(0, places)),
                            .value = widened(of_keys(on.value).index_select(0, places)),
                            .out = widened(of_queries(results[0])),
                            .grad = widened(of_queries(results[1])),
                            .lse = of_queries(results[2]),
                            .scale = on.scale});
      of_queries(to[0]).copy_(found.query);
      of_keys(to[1]).index_add_(0, places, found.key);
      of_keys(to[2]).index_add_(0, places, found.value);
    });
  }
}

Three block_sparse_attention_backward(
    const at::Tensor& d_out, const at::Tensor& query, const at::Tensor& key,
    const at::Tensor& value, const at::Tensor& attention_out, const at::Tensor& softmax_lse,
    const at::Tensor& block_sparse_mask, at::OptionalIntArrayRef block_shape,
    MaybeLengths actual_seq_lengths, MaybeLengths actual_seq_lengths_kv,
    c10::string_view q_input_layout, c10::string_view kv_input_layout,
    std::int64_t num_key_value_heads, double scale_value) {
  constexpr const char* kOp = "npu_block_sparse_attention_backward";
  refuse_on_950(kOp, "npu_fused_infer_attention_score");
  const Operands on = operands_of({kOp, query, key, value, block_sparse_mask, block_shape,
                                   actual_seq_lengths, actual_seq_lengths_kv, q_input_layout,
                                   kv_input_layout, num_key_value_heads, scale_value});
  std::vector<std::int64_t> sizes = query.sizes().vec();
  sizes.back() = 1;
  TORCH_CHECK_VALUE(d_out.sizes() == query.sizes() && attention_out.sizes() == query.sizes() &&
                        softmax_lse.sizes() == sizes,
                    kOp, ": expected d_out and attention_out of query's ", query.sizes(),
                    " and softmax_lse of ", at::IntArrayRef(sizes), ", got ", d_out.sizes(), ", ",
                    attention_out.sizes(), " and ", softmax_lse.sizes());
  if (query.is_meta()) return {at::empty_like(query), at::empty_like(key), at::empty_like(value)};
  const auto like = [](const at::Tensor& x) {
    return at::zeros(x.sizes(), x.options().dtype(at::kFloat));
  };
  const std::array gradients{like(query), like(key), like(value)};
  const auto first = [&](const at::Tensor& x) { return heads_first(x, on.axes, 1); };
  const std::array to{first(gradients[0]), first(gradients[1]), first(gradients[2])};
  const std::array results{first(attention_out), first(d_out), first(softmax_lse)};
  const std::int64_t kv_heads = on.key.size(1);
  at::parallel_for(0, std::ssize(on.queries) * kv_heads, 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     const at::AutoDispatchBelowAutograd below;
                     for (std::int64_t i = begin; i < end; ++i)
                       add_gradients(on, results, i / kv_heads, i % kv_heads, to);
                   });
  return {gradients[0].to(query.scalar_type()), gradients[1].to(key.scalar_type()),
          gradients[2].to(value.scalar_type())};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&block_sparse_attention>(m, "npu_block_sparse_attention");
  composed_kernel<&block_sparse_attention_backward>(m, "npu_block_sparse_attention_backward");
  derivative(
      m, "npu_block_sparse_attention",
      "query, key, value: npu_block_sparse_attention_backward(grad, query, key, value, result0, "
      "result1, "
      "block_sparse_mask, block_shape, actual_seq_lengths, actual_seq_lengths_kv, q_input_layout, "
      "kv_input_layout, num_key_value_heads, scale_value)");
}

}  // namespace
}  // namespace npu_sim::ops
