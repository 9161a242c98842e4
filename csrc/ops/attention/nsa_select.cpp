// npu_nsa_select_attention, its gradient and npu_nsa_select_attention_infer: attention of each
// token to the blocks of select_block_size keys that topk_indices names for it and its key head.
//
// The cards before the Ascend 950 have these. Source: op-plugin@517f2e7d, tests;
// cann/ops-transformer, aclnnNsaSelectedAttention*.md.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/attention/card_lacks.h"
#include "ops/attention/infer_layout.h"
#include "ops/attention/picked_rows.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"
#include "ops/sparse/selected_attention.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

// --- work: every token and key head is a batch of its own; they share no keys.
struct WorkPlaces {
  std::size_t indices = 3;
  std::size_t block_size = 6;
  std::int64_t kv_heads = 1;
  std::int64_t value_width = 0;
  bool backward = false;
};
model::Work select_work(const aten::Call& call, std::size_t query, const WorkPlaces& places) {
  const at::Tensor& q = aten::tensor_at(call, query);
  const std::int64_t block = aten::integer_at(call, places.block_size, 1);
  const std::int64_t heads = aten::size_along(q, -2);
  return model::AttentionWork{
      .batch = aten::ratio(q.numel(), heads * aten::size_along(q, -1)),
      .q_heads = heads,
      .kv_heads = places.kv_heads,
      .q_len = 1,
      .kv_len = block * aten::size_along(aten::tensor_at(call, places.indices), -1),
      .qk_dim = aten::size_along(q, -1),
      .v_dim = places.value_width,
      .format = aten::format_of(q),
      .backward = places.backward,
      .kv_block = block};
}
model::Work forward_work(const aten::Call& call) {
  const at::Tensor& value = call.argument(2);
  return select_work(call, 0, {.kv_heads = value.size(1), .value_width = value.size(2)});
}
model::Work backward_work(const aten::Call& call) {
  const at::Tensor& value = call.argument(3);
  return select_work(call, 1,
                     {.indices = 7,
                      .block_size = 10,
                      .kv_heads = value.size(1),
                      .value_width = value.size(2),
                      .backward = true});
}
model::Work paged_work(const aten::Call& call) {
  const std::int64_t kv_heads = aten::integer_at(call, 6, 1);
  const at::Tensor& value = call.argument(2);
  const std::int64_t width = value.dim() == 4 ? value.size(3) : value.size(2) / kv_heads;
  return select_work(call, 0, {.block_size = 7, .kv_heads = kv_heads, .value_width = width});
}
constexpr aten::Entry kEntries[] = {
    {"npu_nsa_select_attention", forward_work},
    {"npu_nsa_select_attention_grad", backward_work},
    {"npu_nsa_select_attention_infer", paged_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using MaybeSums = at::OptionalIntArrayRef;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// Operands seen heads first, [batch, heads, tokens, width], keys possibly in pages.
struct Selected {
  const char* op;
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  at::Tensor indices;  // [tokens, key heads, blocks], int32
  std::vector<TokenSpan> queries;
  Placement keys;
  double scale = 1;
  std::int64_t block = 0;
  bool causal = false;  // token i of a sequence sees keys up to i

  [[nodiscard]] std::int64_t kv_heads() const { return key.size(1); }
  [[nodiscard]] std::int64_t shared() const { return query.size(1) / key.size(1); }
};

void check(const Selected& on, std::int64_t heads) {
  const at::ScalarType dtype = on.query.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kHalf || dtype == at::kBFloat16, on.op,
                   ": expected query of float16 or bfloat16, got ", dtype);
  TORCH_CHECK_TYPE(on.key.scalar_type() == dtype && on.value.scalar_type() == dtype, on.op,
                   ": expected key and value of query's ", dtype, ", got ", on.key.scalar_type(),
                   " and ", on.value.scalar_type());
  TORCH_CHECK_VALUE(on.query.size(1) == heads && on.kv_heads() > 0 && heads % on.kv_heads() == 0,
                    on.op, ": expected head_num heads of query, a multiple of key's ",
                    on.kv_heads(), ", got ", on.query.size(1), " and head_num ", heads);
  TORCH_CHECK_VALUE(on.key.size(3) == on.query.size(3) && on.value.size(1) == on.kv_heads() &&
                        on.value.size(0) == on.key.size(0) && on.value.size(2) == on.key.size(2),
                    on.op, ": expected key of query's width and value of key's tokens, got ",
                    on.key.sizes(), " and ", on.value.sizes());
  TORCH_CHECK_VALUE(on.block > 0, on.op, ": expected select_block_size above 0, got ", on.block);
}

void check_indices(const Selected& on, const at::Tensor& indices, at::IntArrayRef tokens,
                   std::int64_t count) {
  std::vector<std::int64_t> wanted = tokens.vec();
  wanted.push_back(on.kv_heads());
  wanted.push_back(count);
  TORCH_CHECK_VALUE(indices.sizes() == wanted, on.op, ": expected topk_indices of ",
                    at::IntArrayRef(wanted), ", got ", indices.sizes());
  TORCH_CHECK_TYPE(indices.scalar_type() == at::kInt, on.op,
                   ": expected topk_indices of int32, got ", indices.scalar_type());
}

Lengths lengths_of(const char* op, const char* argument, const MaybeSums& sums) {
  return {.name = {.op = op, .argument = argument},
          .values =
              sums.has_value() ? std::optional(Integers(sums->begin(), sums->end())) : std::nullopt,
          .padding = {}};
}

// What token `i` of a sequence attends to by one key head: positions, in the order of the blocks.
Integers positions_of(const Selected& on, std::int64_t sequence, std::int64_t i,
                      std::int64_t head) {
  const std::int64_t count = on.indices.size(2);
  const TokenSpan& span = on.queries[static_cast<std::size_t>(sequence)];
  const std::int64_t row = span.batch * on.query.size(2) + span.first + i;
  const auto* const blocks =
      on.indices.const_data_ptr<std::int32_t>() + (row * on.kv_heads() + head) * count;
  const std::int64_t length = on.keys.length(sequence);
  return selected_positions(blocks, count, on.block, on.causal ? std::min(length, i + 1) : length);
}

struct Statistics {
  at::Tensor greatest;  // [tokens, heads], fp32; undefined: not wanted
  at::Tensor sum;
};

void attend_to_blocks(const Selected& on, const at::Tensor& out, const Statistics& statistics) {
  std::vector<flash::Problem> problems;
  for (std::int64_t s = 0; s < std::ssize(on.queries); ++s) {
    const TokenSpan& span = on.queries[static_cast<std::size_t>(s)];
    for (std::int64_t i = 0; i < span.length; ++i) {
      for (std::int64_t head = 0; head < on.kv_heads(); ++head) {
        const std::int64_t first = head * on.shared();
        const Integers positions = positions_of(on, s, i, head);
        flash::Problem problem = problem_of(
            on.query, out,
            {.batch = span.batch, .head = first, .heads = on.shared(), .first = span.first + i});
        problem.keys = std::ssize(positions);
        problem.scale = static_cast<float>(on.scale);
        problem.key = picked_rows(on.key, on.keys, s, head, positions);
        problem.value = picked_rows(on.value, on.keys, s, head, positions);
        if (statistics.sum.defined()) {
          const std::int64_t place = (span.first + i) * on.query.size(1) + first;
          problem.statistics.greatest = statistics.greatest.mutable_data_ptr<float>() + place;
          problem.statistics.sum = statistics.sum.mutable_data_ptr<float>() + place;
          problem.statistics.head_stride = 1;
        }
        problems.push_back(std::move(problem));
      }
    }
  }
  flash::forward(problems);
}

Selected flat_operands(const char* op, const at::Tensor& query, const at::Tensor& key,
                       const at::Tensor& value) {
  for (const at::Tensor* const x : {&query, &key, &value}) {
    TORCH_CHECK_VALUE(x->dim() == 3, op,
                      ": expected query, key and value of [tokens, heads, width], got ",
                      x->sizes());
  }
  Selected on{
      .op = op, .query = {}, .key = {}, .value = {}, .indices = {}, .queries = {}, .keys = {}};
  on.query = heads_first(query, Axes::kTnd, 1);
  on.key = heads_first(key, Axes::kTnd, 1);
  on.value = heads_first(value, Axes::kTnd, 1);
  return on;
}

struct FlatArguments {
  const at::Tensor& indices;
  double scale;
  std::int64_t heads;
  std::int64_t block;
  std::int64_t count;
  bool masked;
  MaybeSums query_sums;
  MaybeSums key_sums;
};

Selected flat_call(Selected on, const FlatArguments& arguments) {
  on.scale = arguments.scale;
  on.block = arguments.block;
  on.causal = arguments.masked;
  check(on, arguments.heads);
  check_indices(on, arguments.indices, {on.query.size(2)}, arguments.count);
  on.indices = arguments.indices.contiguous();
  on.queries = token_spans(lengths_of(on.op, "actual_seq_qlen", arguments.query_sums), Axes::kTnd,
                           on.query.sizes());
  on.keys.spans = token_spans(lengths_of(on.op, "actual_seq_kvlen", arguments.key_sums), Axes::kTnd,
                              on.key.sizes());
  TORCH_CHECK_VALUE(on.queries.size() == on.keys.spans.size(), on.op,
                    ": expected actual_seq_kvlen of ", on.queries.size(),
                    " sequences, as actual_seq_qlen has, got ", on.keys.spans.size());
  return on;
}

// The card keeps each statistic eight times.
at::Tensor repeated(const at::Tensor& statistic) {
  return statistic.unsqueeze(-1).expand({-1, -1, 8}).contiguous();
}

Three nsa_select_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const at::Tensor& topk_indices, double scale_value,
                           std::int64_t head_num, std::int64_t select_block_size,
                           std::int64_t select_block_count, const MaybeTensor& atten_mask,
                           MaybeSums actual_seq_qlen, MaybeSums actual_seq_kvlen) {
  constexpr const char* kOp = "npu_nsa_select_attention";
  refuse_on_950(kOp, "npu_sparse_flash_attention");
  const Selected on =
      flat_call(flat_operands(kOp, query, key, value),
                {topk_indices, scale_value, head_num, select_block_size, select_block_count,
                 given(atten_mask), actual_seq_qlen, actual_seq_kvlen});
  const auto floats = query.options().dtype(at::kFloat);
  const at::Tensor out = at::zeros({query.size(0), query.size(1), value.size(2)}, query.options());
  if (query.is_meta()) {
    const at::Tensor one = at::empty({query.size(0), query.size(1), 8}, floats);
    return {out, one, at::empty_like(one)};
  }
  const Statistics statistics{.greatest = at::zeros({query.size(0), query.size(1)}, floats),
                              .sum = at::zeros({query.size(0), query.size(1)}, floats)};
  attend_to_blocks(on, heads_first(out, Axes::kTnd, 1), statistics);
  return {out, repeated(statistics.greatest), repeated(statistics.sum)};
}

// --- gradient
struct Gradients {
  at::Tensor query;  // fp32, heads first
  at::Tensor key;
  at::Tensor value;
};

// One key head: its tokens one after another, because they add to the same keys.
void add_gradients(const Selected& on, const Selected& results, const at::Tensor& lse,
                   std::int64_t head, const Gradients& to) {
  const std::int64_t first = head * on.shared();
  const auto of_token = [&](const at::Tensor& x, std::int64_t row) {
    return widened(x.select(0, 0).narrow(0, first, on.shared()).select(1, row));
  };
  for (std::int64_t s = 0; s < std::ssize(on.queries); ++s) {
    const TokenSpan& span = on.queries[static_cast<std::size_t>(s)];
    const TokenSpan& keys = on.keys.spans[static_cast<std::size_t>(s)];
    const auto of_keys = [&](const at::Tensor& x) {
      return x.select(0, 0).select(0, head).narrow(0, keys.first, keys.length);
    };
    for (std::int64_t i = 0; i < span.length; ++i) {
      const Integers positions = positions_of(on, s, i, head);
      if (positions.empty()) continue;
      const at::Tensor places = at::tensor(positions, at::kLong);
      const std::int64_t row = span.first + i;
      const PickedGradients found =
          picked_gradients({.query = of_token(on.query, row),
                            .key = widened(of_keys(on.key).index_select(0, places)),
                            .value = widened(of_keys(on.value).index_select(0, places)),
                            .out = of_token(results.query, row),
                            .grad = of_token(results.key, row),
                            .lse = lse[row].narrow(0, first, on.shared()).unsqueeze(-1),
                            .scale = on.scale});
      to.query.select(0, 0).narrow(0, first, on.shared()).select(1, row).copy_(found.query);
      of_keys(to.key).index_add_(0, places, found.key);
      of_keys(to.value).index_add_(0, places, found.value);
    }
  }
}

Three nsa_select_attention_grad(const at::Tensor& grad, const at::Tensor& query,
                                const at::Tensor& key, const at::Tensor& value,
                                const at::Tensor& attention_out, const at::Tensor& softmax_max,
                                const at::Tensor& softmax_sum, const at::Tensor& topk_indices,
                                double scale_value, std::int64_t head_num,
                                std::int64_t select_block_size, std::int64_t select_block_count,
                                const MaybeTensor& atten_mask, MaybeSums actual_seq_qlen,
                                MaybeSums actual_seq_kvlen) {
  constexpr const char* kOp = "npu_nsa_select_attention_grad";
  refuse_on_950(kOp, "npu_sparse_flash_attention");
  const Selected on =
      flat_call(flat_operands(kOp, query, key, value),
                {topk_indices, scale_value, head_num, select_block_size, select_block_count,
                 given(atten_mask), actual_seq_qlen, actual_seq_kvlen});
  for (const at::Tensor* const x : {&grad, &attention_out}) {
    TORCH_CHECK_VALUE(
        x->sizes() == at::IntArrayRef({query.size(0), query.size(1), value.size(2)}), kOp,
        ": expected grad and attention_out of query's tokens and value's width, got ", x->sizes());
  }
  for (const at::Tensor* const x : {&softmax_max, &softmax_sum}) {
    TORCH_CHECK_VALUE(x->sizes() == at::IntArrayRef({query.size(0), query.size(1), 8}), kOp,
                      ": expected softmax_max and softmax_sum of [tokens, heads, 8], got ",
                      x->sizes());
  }
  if (query.is_meta()) return {at::empty_like(query), at::empty_like(key), at::empty_like(value)};
  Selected results = flat_operands(kOp, attention_out, grad, grad);
  const at::Tensor lse = softmax_max.select(-1, 0) + softmax_sum.select(-1, 0).log();
  const auto like = [](const at::Tensor& x) {
    return at::zeros(x.sizes(), x.options().dtype(at::kFloat));
  };
  const at::Tensor to_query = like(query);
  const at::Tensor to_key = like(key);
  const at::Tensor to_value = like(value);
  const Gradients to{.query = heads_first(to_query, Axes::kTnd, 1),
                     .key = heads_first(to_key, Axes::kTnd, 1),
                     .value = heads_first(to_value, Axes::kTnd, 1)};
  at::parallel_for(0, on.kv_heads(), 1, [&](std::int64_t begin, std::int64_t end) {
    const at::AutoDispatchBelowAutograd below;
    for (std::int64_t head = begin; head < end; ++head) add_gradients(on, results, lse, head, to);
  });
  return {to_query.to(query.scalar_type()), to_key.to(key.scalar_type()),
          to_value.to(value.scalar_type())};
}

// --- paged keys
at::Tensor paged_heads_first(const char* op, const at::Tensor& cache, std::int64_t heads,
                             const char* argument) {
  const bool fits =
      cache.dim() == 4 ? cache.size(2) == heads : cache.dim() == 3 && cache.size(2) % heads == 0;
  TORCH_CHECK_VALUE(fits, op, ": expected ", argument, " of [blocks, tokens, ", heads,
                    " * width] or [blocks, tokens, ", heads, ", width], got ", cache.sizes());
  return heads_first(cache, cache.dim() == 4 ? Axes::kBsnd : Axes::kBsh, heads);
}

Axes query_axes(const char* op, std::string_view layout) {
  if (layout == "TND") return Axes::kTnd;
  TORCH_CHECK_VALUE(layout == "BSND" || layout == "BSH", op,
                    ": expected layout BSH, BSND or TND, got ", layout);
  return layout == "BSH" ? Axes::kBsh : Axes::kBsnd;
}

struct PagedArguments {
  const at::Tensor& query;
  const at::Tensor& key;
  const at::Tensor& value;
  const at::Tensor& indices;
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t block;
  std::int64_t count;
  std::int64_t page;
};

Selected paged_call(const char* op, Axes axes, const PagedArguments& arguments) {
  const auto [query, key, value, indices, heads, kv_heads, block, count, page] = arguments;
  TORCH_CHECK_VALUE(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, op,
                    ": expected key_value_head_num that divides head_num ", heads, ", got ",
                    kv_heads);
  TORCH_CHECK_VALUE(
      query.dim() == rank_of(axes) && (axes != Axes::kBsh || query.size(2) % heads == 0), op,
      ": expected query of ", rank_of(axes), " axes and ", heads, " heads, got ", query.sizes());
  Selected on{
      .op = op, .query = {}, .key = {}, .value = {}, .indices = {}, .queries = {}, .keys = {}};
  on.query = heads_first(query, axes, heads);
  on.key = paged_heads_first(op, key, kv_heads, "key");
  on.value = paged_heads_first(op, value, kv_heads, "value");
  on.block = block;
  check(on, heads);
  TORCH_CHECK_VALUE(page == on.key.size(2), op, ": expected page_block_size of key's ",
                    on.key.size(2), ", got ", page);
  const std::int64_t batch = on.query.size(0);
  const std::int64_t tokens = on.query.size(2);
  check_indices(on, indices,
                is_flat(axes) ? at::IntArrayRef({tokens}) : at::IntArrayRef({batch, tokens}),
                count);
  on.indices = indices.reshape({batch * tokens, kv_heads, count}).contiguous();
  return on;
}

// Without lengths every token of TND is a sequence.
Lengths query_lengths(const Selected& on, Axes axes, const MaybeSums& sums) {
  Lengths lengths = lengths_of(on.op, "actual_seq_qlen", sums);
  if (!is_flat(axes) || lengths.values.has_value()) return lengths;
  lengths.values = Integers();
  for (std::int64_t i = 1; i <= on.query.size(2); ++i) lengths.values->push_back(i);
  return lengths;
}

at::Tensor nsa_select_attention_infer(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& topk_indices, double scale_value, std::int64_t head_num,
    std::int64_t key_value_head_num, std::int64_t select_block_size,
    std::int64_t select_block_count, std::int64_t page_block_size, c10::string_view layout,
    const MaybeTensor& /*atten_mask: reserved*/, const MaybeTensor& block_table,
    MaybeSums actual_seq_qlen, MaybeSums actual_seq_kvlen) {
  constexpr const char* kOp = "npu_nsa_select_attention_infer";
  refuse_on_950(kOp, "npu_sparse_flash_attention");
  const Axes axes = query_axes(kOp, layout);
  Selected on = paged_call(kOp, axes,
                           {query, key, value, topk_indices, head_num, key_value_head_num,
                            select_block_size, select_block_count, page_block_size});
  on.scale = scale_value;
  TORCH_CHECK_VALUE(given(block_table) && actual_seq_kvlen.has_value(), kOp,
                    ": expected block_table and actual_seq_kvlen, got None");
  const std::vector<std::int64_t> sizes =
      sizes_in(axes, {on.query.size(0), head_num, on.query.size(2), on.value.size(3)});
  const at::Tensor out = at::zeros(sizes, query.options());
  if (query.is_meta()) return out;
  on.queries = token_spans(query_lengths(on, axes, actual_seq_qlen), axes, on.query.sizes());
  const Integers key_lengths =
      lengths_for({.op = kOp, .argument = "actual_seq_kvlen"},
                  Integers(actual_seq_kvlen->begin(), actual_seq_kvlen->end()),
                  std::ssize(on.queries), std::numeric_limits<std::int32_t>::max());
  on.keys = paged_placement(kOp, *block_table, key_lengths,
                            {.count = key.size(0), .tokens = page_block_size});
  attend_to_blocks(on, heads_first(out, axes, head_num), {});
  return out;
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&nsa_select_attention>(m, "npu_nsa_select_attention");
  composed_kernel<&nsa_select_attention_grad>(m, "npu_nsa_select_attention_grad");
  composed_kernel<&nsa_select_attention_infer>(m, "npu_nsa_select_attention_infer");
  derivative(m, "npu_nsa_select_attention",
             "query, key, value: npu_nsa_select_attention_grad(grad, query, key, value, result0, "
             "result1, result2, "
             "topk_indices, scale_value, head_num, select_block_size, select_block_count, "
             "atten_mask=atten_mask, "
             "actual_seq_qlen=actual_seq_qlen, actual_seq_kvlen=actual_seq_kvlen)");
}

}  // namespace
}  // namespace npu_sim::ops
