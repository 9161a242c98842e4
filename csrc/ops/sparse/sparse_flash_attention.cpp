// npu_sparse_flash_attention: absorbed latent attention (MLA) of each query to keys of its own, and
// npu_sparse_flash_attention_grad.
//
// query [B, S, N, D] or [T, N, D], key as in sequences.h with one head, sparse_indices [..., 1, K]:
// blocks of sparse_block_size tokens, the first negative one ends a row. Scores add the products of
// query_rope and key_rope; value is key where None. Source: op-plugin@517f2e7d, docs and tests.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/sparse/selected_attention.h"
#include "ops/sparse/selected_work.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

// --- work: every query is a batch of its own, because it shares no keys with others.
constexpr SpanArguments kForward{
    .query_lengths = 6, .key_lengths = 7, .query_layout = 11, .key_layout = 12, .block_table = 5};
model::Work forward_work(const aten::Call& call) {
  const at::Tensor& query = call.argument(0);
  const std::int64_t width = aten::size_along(query, -1);
  const at::Tensor& rope = aten::tensor_at(call, 8);
  return selected_work(call, kForward,
                       {.indices = 3,
                        .sparse_mode = 13,
                        .block_size = aten::integer_at(call, 10, 1),
                        .qk_dim = width + (rope.defined() ? aten::size_along(rope, -1) : 0),
                        .v_dim = width,
                        .format = aten::format_of(query)});
}
constexpr SpanArguments kBackward{.query_lengths = 12,
                                  .key_lengths = 13,
                                  .query_layout = 14,
                                  .key_layout = 14,
                                  .block_table = 99};
model::Work backward_work(const aten::Call& call) {
  const at::Tensor& query = call.argument(0);
  const std::int64_t width = aten::size_along(query, -1);
  const at::Tensor& rope = aten::tensor_at(call, 10);
  return selected_work(call, kBackward,
                       {.indices = 3,
                        .sparse_mode = 15,
                        .block_size = aten::integer_at(call, 9, 1),
                        .qk_dim = width + (rope.defined() ? aten::size_along(rope, -1) : 0),
                        .v_dim = width,
                        .format = aten::format_of(query),
                        .backward = true});
}
constexpr aten::Entry kEntries[] = {
    {"npu_sparse_flash_attention", forward_work},
    {"npu_sparse_flash_attention_grad", backward_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
// What forward and backward share.
struct Operands {
  const char* op;
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;       // key where none was given
  at::Tensor query_rope;  // undefined: none
  at::Tensor key_rope;
  at::Tensor indices;
  double scale = 1;
  std::int64_t block_size = 1;
  std::string_view layout_query;
  std::string_view layout_key;
  std::int64_t sparse_mode = 3;
};

at::Tensor tensor_of(const MaybeTensor& tensor) { return tensor.value_or(at::Tensor()); }

void check_shapes(const Operands& on) {
  const std::int64_t axes = on.layout_query == "TND" ? 3 : 4;
  TORCH_CHECK_VALUE(on.query.dim() == axes && on.query.numel() > 0, on.op, ": expected query of ",
                    axes, " axes in layout ", on.layout_query, ", none of them empty, got ",
                    on.query.sizes());
  TORCH_CHECK_VALUE(on.key.dim() == (on.layout_key == "TND" ? 3 : 4) && on.key.numel() > 0, on.op,
                    ": expected key of layout ", on.layout_key, " without empty axes, got ",
                    on.key.sizes());
  TORCH_CHECK_VALUE(on.key.size(-2) == 1 && on.key.size(-1) == on.query.size(-1), on.op,
                    ": expected key of one head as wide as query's ", on.query.size(-1), ", got ",
                    on.key.sizes());
  TORCH_CHECK_VALUE(on.value.sizes() == on.key.sizes(), on.op, ": expected value of key's shape ",
                    on.key.sizes(), ", got ", on.value.sizes());
  std::vector<std::int64_t> chosen = on.query.sizes().vec();
  chosen[chosen.size() - 2] = 1;
  chosen.back() = on.indices.dim() == axes ? on.indices.size(-1) : 0;
  TORCH_CHECK_VALUE(on.indices.sizes() == chosen && chosen.back() > 0, on.op,
                    ": expected sparse_indices of query's tokens, one head and at least one "
                    "block, got ",
                    on.indices.sizes(), " for query ", on.query.sizes());
  TORCH_CHECK_VALUE(
      on.block_size >= 1 && on.block_size <= 128 && (on.block_size & (on.block_size - 1)) == 0,
      on.op, ": expected sparse_block_size of a power of two up to 128, got ", on.block_size);
}

void check_ropes(const Operands& on) {
  TORCH_CHECK_VALUE(on.query_rope.defined() && on.key_rope.defined(), on.op,
                    ": expected query_rope and key_rope in attention_mode 2, got ",
                    on.query_rope.defined() ? "no key_rope" : "no query_rope");
  const std::int64_t width = on.query_rope.dim() > 0 ? on.query_rope.size(-1) : 0;
  std::vector<std::int64_t> query_sizes = on.query.sizes().vec();
  std::vector<std::int64_t> key_sizes = on.key.sizes().vec();
  query_sizes.back() = width;
  key_sizes.back() = width;
  TORCH_CHECK_VALUE(width > 0 && on.query_rope.sizes() == query_sizes, on.op,
                    ": expected query_rope of ", at::IntArrayRef(query_sizes), ", got ",
                    on.query_rope.sizes());
  TORCH_CHECK_VALUE(on.key_rope.sizes() == key_sizes, on.op, ": expected key_rope of ",
                    at::IntArrayRef(key_sizes), ", got ", on.key_rope.sizes());
}

void check_dtypes(const Operands& on) {
  const at::ScalarType dtype = on.query.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kBFloat16 || dtype == at::kHalf, on.op,
                   ": expected query of bfloat16 or float16, got ", dtype);
  for (const at::Tensor* const x : {&on.key, &on.value, &on.query_rope, &on.key_rope}) {
    TORCH_CHECK_TYPE(x->scalar_type() == dtype, on.op,
                     ": expected key, value, query_rope and key_rope of query's ", dtype, ", got ",
                     x->scalar_type());
  }
  TORCH_CHECK_TYPE(on.indices.scalar_type() == at::kInt, on.op,
                   ": expected sparse_indices of int32, got ", on.indices.scalar_type());
}

void check(const Operands& on, std::int64_t attention_mode) {
  TORCH_CHECK_VALUE(attention_mode == 2, on.op,
                    ": expected attention_mode 2 (absorbed MLA), the only one of the card, got ",
                    attention_mode);
  check_layouts(on.op, on.layout_query, on.layout_key);
  check_shapes(on);
  check_ropes(on);
  check_dtypes(on);
}

at::Tensor check_sinks(const Operands& on, const MaybeTensor& sinks) {
  if (!given(sinks)) return {};
  TORCH_CHECK_VALUE(sinks->sizes() == at::IntArrayRef{on.query.size(-2)}, on.op,
                    ": expected sinks of [", on.query.size(-2), "], one a head, got ",
                    sinks->sizes());
  TORCH_CHECK_TYPE(sinks->scalar_type() == at::kFloat, on.op, ": expected sinks of float32, got ",
                   sinks->scalar_type());
  return *sinks;
}

// Sizes of the statistics: heads of key, then tokens, then query heads a key head.
std::vector<std::int64_t> statistics_sizes(const at::Tensor& query) {
  if (query.dim() == 3) return {1, query.size(0), query.size(1)};
  return {query.size(0), 1, query.size(1), query.size(2)};
}

// --- compute
struct Places {
  std::vector<Sequence> queries;
  Keys keys;
};

Places places_of(const Operands& on, const std::array<MaybeTensor, 3>& lengths_and_table) {
  const auto& [query_lengths, key_lengths, table] = lengths_and_table;
  const ArgumentName name{.op = on.op, .argument = "actual_seq_lengths_query"};
  std::vector<Sequence> queries =
      query_sequences(name, on.query, on.layout_query, integers_if_given(name, query_lengths));
  Keys keys({.op = on.op, .name = on.layout_key, .lengths = "actual_seq_lengths_kv"}, on.key,
            integers_if_given({.op = on.op, .argument = "actual_seq_lengths_kv"}, key_lengths),
            table, std::ssize(queries));
  return {.queries = std::move(queries), .keys = std::move(keys)};
}

at::Tensor tokens_of(const at::Tensor& tensor) {
  return tensor.reshape({-1, tensor.size(-2), tensor.size(-1)});
}

// One query token: where it is, and the positions it attends to.
struct Token {
  std::int64_t row = 0;
  std::int64_t sequence = 0;
  Integers positions;
};

// Calls `take` for every token of every sequence, on several threads where `parallel`.
template <class Take>
void for_tokens(const Operands& on, const Places& places, bool parallel, const Take& take) {
  const at::Tensor indices = on.indices.contiguous();
  const std::int64_t count = indices.size(-1);
  const auto* const blocks = indices.const_data_ptr<std::int32_t>();
  for (std::int64_t s = 0; s < std::ssize(places.queries); ++s) {
    const Sequence& queries = places.queries[static_cast<std::size_t>(s)];
    const auto range = [&](std::int64_t begin, std::int64_t end) {
      const at::AutoDispatchBelowAutograd below;
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = queries.first + i;
        const std::int64_t limit =
            visible(on.sparse_mode, places.keys.length(s), queries.length, i);
        take(Token{
            .row = row,
            .sequence = s,
            .positions = selected_positions(blocks + row * count, count, on.block_size, limit)});
      }
    };
    if (parallel)
      at::parallel_for(0, queries.length, 1, range);
    else
      range(0, queries.length);
  }
}

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// Two names for the same memory, as callers of absorbed attention pass it.
bool same_memory(const at::Tensor& a, const at::Tensor& b) {
  return a.const_data_ptr() == b.const_data_ptr() && a.strides() == b.strides();
}

Three attention(const Operands& on, const Places& places, const at::Tensor& sinks) {
  const at::Tensor query = tokens_of(on.query);
  const at::Tensor query_rope = tokens_of(on.query_rope);
  const auto floats = query.options().dtype(at::kFloat);
  const at::Tensor out = at::zeros(query.sizes(), query.options());
  const at::Tensor largest = at::zeros({query.size(0), query.size(1)}, floats);
  const at::Tensor sum = at::zeros_like(largest);
  const bool value_is_key = same_memory(on.value, on.key);
  for_tokens(on, places, true, [&](const Token& token) {
    const auto rows = [&](const at::Tensor& x) {
      return widened(places.keys.rows(x, token.sequence, token.positions, 0));
    };
    const at::Tensor nope = rows(on.key);
    const at::Tensor wide = at::cat({query[token.row], query_rope[token.row]}, -1);
    const Attended attended = attend(widened(wide), at::cat({nope, rows(on.key_rope)}, -1),
                                     value_is_key ? nope : rows(on.value), on.scale, sinks);
    out[token.row].copy_(attended.out);
    largest[token.row].copy_(attended.largest);
    sum[token.row].copy_(attended.sum);
  });
  return {out.view(on.query.sizes()), largest, sum};
}

Operands operands_of(const char* op, const at::Tensor& query, const at::Tensor& key,
                     const MaybeTensor& value, const at::Tensor& indices) {
  const bool has_value = given(value);
  return {.op = op,
          .query = query,
          .key = key,
          .value = has_value ? *value : key,
          .query_rope = {},
          .key_rope = {},
          .indices = indices,
          .layout_query = {},
          .layout_key = {}};
}

at::Tensor statistics(const at::Tensor& values, const at::Tensor& query, bool wanted) {
  if (!wanted) return at::empty({0}, values.options());
  const std::vector<std::int64_t> sizes = statistics_sizes(query);
  return values.view(sizes);
}

Three sparse_flash_attention(
    const at::Tensor& query, const at::Tensor& key, const MaybeTensor& value,
    const at::Tensor& sparse_indices, double scale_value, const MaybeTensor& block_table,
    const MaybeTensor& actual_seq_lengths_query, const MaybeTensor& actual_seq_lengths_kv,
    const MaybeTensor& query_rope, const MaybeTensor& key_rope, std::int64_t sparse_block_size,
    c10::string_view layout_query, c10::string_view layout_kv, std::int64_t sparse_mode,
    std::int64_t pre_tokens, std::int64_t next_tokens, std::int64_t attention_mode,
    bool return_softmax_lse, const MaybeTensor& sinks) {
  Operands on = operands_of("npu_sparse_flash_attention", query, key, value, sparse_indices);
  on.query_rope = tensor_of(query_rope);
  on.key_rope = tensor_of(key_rope);
  on.scale = scale_value;
  on.block_size = sparse_block_size;
  on.layout_query = layout_query;
  on.layout_key = layout_kv;
  on.sparse_mode = sparse_mode;
  check(on, attention_mode);
  check_masking(on.op, {sparse_mode, pre_tokens, next_tokens});
  const at::Tensor sink = check_sinks(on, sinks);
  if (query.is_meta()) {
    const auto sizes = return_softmax_lse ? statistics_sizes(query) : std::vector<std::int64_t>{0};
    const at::Tensor one = at::empty(sizes, query.options().dtype(at::kFloat));
    return {at::empty_like(query, at::MemoryFormat::Contiguous), one, at::empty_like(one)};
  }
  const Places places =
      places_of(on, {actual_seq_lengths_query, actual_seq_lengths_kv, block_table});
  const auto [out, largest, sum] = attention(on, places, sink);
  return {out, statistics(largest, query, return_softmax_lse),
          statistics(sum, query, return_softmax_lse)};
}

// --- gradient
struct Gradients {
  at::Tensor query;  // [tokens, heads, width + rope width]
  at::Tensor key;    // [places, width + rope width]
  at::Tensor value;  // [places, width]
};

// With p = exp(score - largest) / sum: dv = p^T do, ds = p (do v^T - sum(do out)) scale, dq = ds k,
// dk = ds^T q. Sequential, since queries add to the same keys.
Gradients gradients_of(const Operands& on, const Places& places, const at::Tensor& d_out,
                       const at::Tensor& out, const std::array<at::Tensor, 2>& statistics) {
  const at::Tensor query = at::cat({tokens_of(on.query), tokens_of(on.query_rope)}, -1);
  const std::int64_t heads = query.size(1);
  const at::Tensor largest = statistics[0].reshape({-1, heads});
  const at::Tensor sum = statistics[1].reshape({-1, heads});
  const at::Tensor grad = tokens_of(d_out);
  const at::Tensor result = tokens_of(out);
  const auto floats = query.options().dtype(at::kFloat);
  const std::int64_t stored = on.key.numel() / on.key.size(-1);
  const Gradients found{.query = at::zeros(query.sizes(), floats),
                        .key = at::zeros({stored, query.size(-1)}, floats),
                        .value = at::zeros({stored, on.key.size(-1)}, floats)};
  for_tokens(on, places, false, [&](const Token& token) {
    if (token.positions.empty()) return;
    const auto rows = [&](const at::Tensor& x) {
      return widened(places.keys.rows(x, token.sequence, token.positions, 0));
    };
    const at::Tensor keys = at::cat({rows(on.key), rows(on.key_rope)}, -1);
    const at::Tensor q = widened(query[token.row]);
    const at::Tensor g = widened(grad[token.row]);
    const at::Tensor scores = at::matmul(q, keys.t()) * on.scale;
    const at::Tensor p =
        (scores - largest[token.row].unsqueeze(-1)).exp() / sum[token.row].unsqueeze(-1);
    const at::Tensor delta = (g * widened(result[token.row])).sum(-1, true);
    const at::Tensor ds = p * (at::matmul(g, rows(on.value).t()) - delta) * on.scale;
    const at::Tensor into = places.keys.flat_places(token.sequence, token.positions);
    found.query[token.row].copy_(at::matmul(ds, keys));
    found.key.index_add_(0, into, at::matmul(ds.t(), q));
    found.value.index_add_(0, into, at::matmul(p.t(), g));
  });
  return found;
}

using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// Gradients in the shapes and dtypes of the operands. Without a value the keys are the values.
Five as_operands(const Operands& on, const Gradients& found, bool has_value) {
  const std::int64_t width = on.query.size(-1);
  const std::int64_t rope = on.query_rope.size(-1);
  const auto part = [](const at::Tensor& grad, std::int64_t first, std::int64_t count,
                       const at::Tensor& like) {
    return grad.narrow(-1, first, count).reshape(like.sizes()).to(like.scalar_type());
  };
  const at::Tensor d_key =
      has_value ? found.key.narrow(-1, 0, width) : found.key.narrow(-1, 0, width) + found.value;
  return {part(found.query, 0, width, on.query), part(d_key, 0, width, on.key),
          has_value ? part(found.value, 0, width, on.value) : at::empty({0}, on.key.options()),
          part(found.query, width, rope, on.query_rope), part(found.key, width, rope, on.key_rope)};
}

Five sparse_flash_attention_grad(
    const at::Tensor& query, const at::Tensor& key, const MaybeTensor& value,
    const at::Tensor& sparse_indices, const at::Tensor& d_out, const at::Tensor& out,
    const at::Tensor& softmax_max, const at::Tensor& softmax_sum, double scale_value,
    std::int64_t sparse_block_size, const MaybeTensor& query_rope, const MaybeTensor& key_rope,
    const MaybeTensor& actual_seq_qlen, const MaybeTensor& actual_seq_kvlen,
    std::optional<c10::string_view> layout, std::optional<std::int64_t> sparse_mode,
    std::optional<std::int64_t> pre_tokens, std::optional<std::int64_t> next_tokens,
    std::optional<std::int64_t> attention_mode) {
  Operands on = operands_of("npu_sparse_flash_attention_grad", query, key, value, sparse_indices);
  on.query_rope = tensor_of(query_rope);
  on.key_rope = tensor_of(key_rope);
  on.scale = scale_value;
  on.block_size = sparse_block_size;
  on.layout_query = layout.value_or("BSND");
  on.layout_key = on.layout_query;
  on.sparse_mode = sparse_mode.value_or(3);
  check(on, attention_mode.value_or(0));
  constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();
  check_masking(on.op, {on.sparse_mode, pre_tokens.value_or(kAll), next_tokens.value_or(kAll)});
  TORCH_CHECK_VALUE(d_out.sizes() == query.sizes() && out.sizes() == query.sizes(), on.op,
                    ": expected d_out and out of query's shape ", query.sizes(), ", got ",
                    d_out.sizes(), " and ", out.sizes());
  const std::vector<std::int64_t> sizes = statistics_sizes(query);
  TORCH_CHECK_VALUE(softmax_max.sizes() == sizes && softmax_sum.sizes() == sizes, on.op,
                    ": expected softmax_max and softmax_sum of ", at::IntArrayRef(sizes), ", got ",
                    softmax_max.sizes(), " and ", softmax_sum.sizes(),
                    "; call npu_sparse_flash_attention with return_softmax_lse=True");
  const bool has_value = given(value);
  if (query.is_meta()) {
    return {at::empty_like(query), at::empty_like(key),
            has_value ? at::empty_like(*value) : at::empty({0}, key.options()),
            at::empty_like(on.query_rope), at::empty_like(on.key_rope)};
  }
  const Places places = places_of(on, {actual_seq_qlen, actual_seq_kvlen, MaybeTensor()});
  const Gradients found = gradients_of(on, places, d_out, out, {softmax_max, softmax_sum});
  return as_operands(on, found, has_value);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&sparse_flash_attention>(m, "npu_sparse_flash_attention");
  composed_kernel<&sparse_flash_attention_grad>(m, "npu_sparse_flash_attention_grad");
  derivative(m, "npu_sparse_flash_attention",
             "query, key, value, query_rope, key_rope: npu_sparse_flash_attention_grad(query, key, "
             "value, sparse_indices, grad, result0, result1, result2, scale_value, "
             "sparse_block_size, query_rope, key_rope, actual_seq_lengths_query, "
             "actual_seq_lengths_kv, layout_query, sparse_mode, pre_tokens, next_tokens, "
             "attention_mode)");
}

}  // namespace
}  // namespace npu_sim::ops
