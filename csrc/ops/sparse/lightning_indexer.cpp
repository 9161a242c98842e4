// npu_lightning_indexer and npu_quant_lightning_indexer: the keys that matter most to each query.
//
// The indices of a query are sorted by falling score; those that it has too few keys for are -1.
// Queries beyond an actual length choose nothing. Source: op-plugin@517f2e7d, docs and tests.
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/autograd/derivative.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"
#include "ops/sparse/index_scores.h"
#include "ops/sparse/selected_work.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

// --- work: the products of all heads with the visible keys, scores never leaving the chip (an
// attention without values), and a selection in each query's scores.
template <SpanArguments where, std::size_t sparse_mode>
model::Work score_work(const aten::Call& call) {
  const at::Tensor& query = call.argument(0);
  model::AttentionWork work =
      even_work(spans_of(call, where), aten::integer_at(call, sparse_mode, 3));
  work.q_heads = aten::size_along(query, -2);
  work.qk_dim = aten::size_along(query, -1);
  work.format = aten::format_of(query);
  const bool paged = text_at(call, where.key_layout, "") == "PA_BSND";
  work.kv_block = paged ? aten::size_along(call.argument(1), 1) : 0;
  return work;
}

template <SpanArguments where, std::size_t sparse_count, std::size_t sparse_mode>
model::Work selection_work(const aten::Call& call) {
  const model::AttentionWork scores =
      even_work(spans_of(call, where), aten::integer_at(call, sparse_mode, 3));
  return model::SortWork{.rows = scores.batch * scores.q_len,
                         .columns = scores.kv_len,
                         .k = std::min(aten::integer_at(call, sparse_count, 2048), scores.kv_len),
                         .format = model::Format::kFp32,
                         .written = aten::bytes_of(call.result(0))};
}

constexpr SpanArguments kSpans{
    .query_lengths = 3, .key_lengths = 4, .query_layout = 6, .key_layout = 7, .block_table = 5};
constexpr SpanArguments kQuantSpans{
    .query_lengths = 7, .key_lengths = 8, .query_layout = 10, .key_layout = 11, .block_table = 9};
constexpr aten::Describer kSelection[] = {selection_work<kSpans, 8, 9>};
constexpr aten::Describer kQuantSelection[] = {selection_work<kQuantSpans, 12, 13>};
constexpr aten::Entry kEntries[] = {
    {"npu_lightning_indexer", score_work<kSpans, 9>, kSelection},
    {"npu_quant_lightning_indexer", score_work<kQuantSpans, 13>, kQuantSelection},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr std::int64_t kMostChosen = 8192;  // Source: docs of npu_lightning_indexer

struct Selection {
  const char* op;
  std::string_view layout_query;
  std::string_view layout_key;
  std::int64_t count;
};

void check_operands(const Selection& how, const at::Tensor& query, const at::Tensor& key,
                    const at::Tensor& weights) {
  check_layouts(how.op, how.layout_query, how.layout_key);
  const std::int64_t axes = how.layout_query == "TND" ? 3 : 4;
  TORCH_CHECK_VALUE(query.dim() == axes && query.numel() > 0, how.op, ": expected query of ", axes,
                    " axes in layout ", how.layout_query, ", none of them empty, got ",
                    query.sizes());
  TORCH_CHECK_VALUE(key.dim() == (how.layout_key == "TND" ? 3 : 4) && key.numel() > 0, how.op,
                    ": expected key of layout ", how.layout_key, " without empty axes, got ",
                    key.sizes());
  TORCH_CHECK_VALUE(key.size(-2) == 1 && key.size(-1) == query.size(-1), how.op,
                    ": expected key of one head as wide as query's ", query.size(-1), ", got ",
                    key.sizes());
  TORCH_CHECK_VALUE(weights.sizes() == query.sizes().slice(0, query.dim() - 1), how.op,
                    ": expected weights of ", query.sizes().slice(0, query.dim() - 1), ", got ",
                    weights.sizes());
  TORCH_CHECK_VALUE(how.count > 0 && how.count <= kMostChosen, how.op,
                    ": expected sparse_count in [1, ", kMostChosen, "], got ", how.count);
}

std::vector<std::int64_t> chosen_sizes(const Selection& how, const at::Tensor& query) {
  std::vector<std::int64_t> sizes = query.sizes().vec();
  sizes[sizes.size() - 2] = 1;
  sizes.back() = how.count;
  return sizes;
}

// --- compute
struct Places {
  std::vector<Sequence> queries;
  Keys keys;
};

Places places_of(const Selection& how, const at::Tensor& query, const at::Tensor& key,
                 const std::array<MaybeTensor, 3>& lengths_and_table) {
  const auto& [query_lengths, key_lengths, table] = lengths_and_table;
  const ArgumentName query_name{.op = how.op, .argument = "actual_seq_lengths_query"};
  const ArgumentName key_name{.op = how.op, .argument = "actual_seq_lengths_key"};
  std::vector<Sequence> queries = query_sequences(query_name, query, how.layout_query,
                                                  integers_if_given(query_name, query_lengths));
  Keys keys({.op = how.op, .name = how.layout_key}, key, integers_if_given(key_name, key_lengths),
            table, std::ssize(queries));
  return {.queries = std::move(queries), .keys = std::move(keys)};
}

struct Chosens {
  at::Tensor positions;
  at::Tensor values;  // fp32; undefined: not wanted
};

// Chooses for the queries of one sequence. `block` has what is the same for all sequences.
void choose_in(const IndexBlock& block, std::int64_t sparse_mode, const Sequence& queries,
               const Chosens& out) {
  const std::int64_t best = out.positions.size(-1);
  const std::int64_t keys = block.key.size(0);
  auto* const positions = out.positions.mutable_data_ptr<std::int32_t>();
  float* const values = out.values.defined() ? out.values.mutable_data_ptr<float>() : nullptr;
  for_index_scores(block, [&](std::int64_t first, const at::Tensor& scores) {
    for (std::int64_t i = 0; i < scores.size(0); ++i) {
      const std::int64_t row = (queries.first + first + i) * best;
      const std::int64_t seen = visible(sparse_mode, keys, queries.length, first + i);
      choose(scores.const_data_ptr<float>() + i * keys, seen,
             {.best = best,
              .positions = positions + row,
              .values = values == nullptr ? nullptr : values + row});
    }
  });
}

Chosens nothing_chosen(const std::vector<std::int64_t>& sizes, const at::Tensor& query,
                       bool with_values) {
  return {.positions = at::full(sizes, -1, query.options().dtype(at::kInt)),
          .values = with_values ? at::full(sizes, -std::numeric_limits<double>::infinity(),
                                           query.options().dtype(at::kFloat))
                                : at::Tensor()};
}

using Two = std::tuple<at::Tensor, at::Tensor>;

void check_plain(const Selection& how, const at::Tensor& query, const at::Tensor& key,
                 const at::Tensor& weights) {
  const auto narrow = [](const at::Tensor& x) {
    return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
  };
  TORCH_CHECK_TYPE(narrow(query) && key.scalar_type() == query.scalar_type(), how.op,
                   ": expected query and key of bfloat16 or float16, got ", query.scalar_type(),
                   " and ", key.scalar_type());
  TORCH_CHECK_TYPE(weights.scalar_type() == query.scalar_type(), how.op,
                   ": expected weights of query's ", query.scalar_type(), ", got ",
                   weights.scalar_type());
  check_operands(how, query, key, weights);
}

Two lightning_indexer(const at::Tensor& query, const at::Tensor& key, const at::Tensor& weights,
                      const MaybeTensor& actual_seq_lengths_query,
                      const MaybeTensor& actual_seq_lengths_key, const MaybeTensor& block_table,
                      c10::string_view layout_query, c10::string_view layout_key,
                      std::int64_t sparse_count, std::int64_t sparse_mode, std::int64_t pre_tokens,
                      std::int64_t next_tokens, bool return_value) {
  const Selection how{"npu_lightning_indexer", layout_query, layout_key, sparse_count};
  check_plain(how, query, key, weights);
  check_masking(how.op, {sparse_mode, pre_tokens, next_tokens});
  const Places places =
      places_of(how, query, key, {actual_seq_lengths_query, actual_seq_lengths_key, block_table});
  const Chosens out = nothing_chosen(chosen_sizes(how, query), query, return_value);
  const std::int64_t heads = query.size(-2);
  const at::Tensor rows = query.reshape({-1, heads, query.size(-1)});
  const at::Tensor row_weights = weights.reshape({-1, heads});
  for (std::int64_t i = 0; i < std::ssize(places.queries); ++i) {
    const Sequence& queries = places.queries[static_cast<std::size_t>(i)];
    if (queries.length == 0 || places.keys.length(i) == 0) continue;
    choose_in({.query = widened(rows.narrow(0, queries.first, queries.length)),
               .weights = widened(row_weights.narrow(0, queries.first, queries.length)),
               .key = widened(places.keys.all_rows(key, i, 0))},
              sparse_mode, queries, out);
  }
  return {out.positions,
          return_value ? out.values.to(query.scalar_type()) : at::empty({0}, query.options())};
}

Two lightning_indexer_meta(const at::Tensor& query, const at::Tensor& key,
                           const at::Tensor& weights, const MaybeTensor&, const MaybeTensor&,
                           const MaybeTensor&, c10::string_view layout_query,
                           c10::string_view layout_key, std::int64_t sparse_count,
                           std::int64_t sparse_mode, std::int64_t pre_tokens,
                           std::int64_t next_tokens, bool return_value) {
  const Selection how{"npu_lightning_indexer", layout_query, layout_key, sparse_count};
  check_plain(how, query, key, weights);
  check_masking(how.op, {sparse_mode, pre_tokens, next_tokens});
  const std::vector<std::int64_t> sizes = chosen_sizes(how, query);
  return {at::empty(sizes, query.options().dtype(at::kInt)),
          at::empty(return_value ? sizes : std::vector<std::int64_t>{0}, query.options())};
}

// Formats of quantised query and key: what the tensors say, HiFloat8 where told.
compute::Element quantised(ArgumentName name, const at::Tensor& tensor,
                           const std::optional<std::int64_t>& dtype) {
  const std::optional<compute::Element> element = element_of(tensor, dtype);
  const bool known = element == compute::Element::kInt8 || element == compute::Element::kE4m3 ||
                     element == compute::Element::kHifloat8;
  TORCH_CHECK_TYPE(known && codes_per_item(*element, tensor.scalar_type()) == 1, name.op,
                   ": expected ", name.argument,
                   " of int8, float8_e4m3fn, or uint8 with a dtype of hifloat8, got ",
                   tensor.scalar_type());
  return *element;
}

void check_scales(const Selection& how, const at::Tensor& query, const at::Tensor& key,
                  const at::Tensor& query_scale, const at::Tensor& key_scale) {
  TORCH_CHECK_VALUE(query_scale.sizes() == query.sizes().slice(0, query.dim() - 1), how.op,
                    ": expected query_dequant_scale of ", query.sizes().slice(0, query.dim() - 1),
                    ", got ", query_scale.sizes());
  TORCH_CHECK_VALUE(key_scale.sizes() == key.sizes().slice(0, key.dim() - 1), how.op,
                    ": expected key_dequant_scale of ", key.sizes().slice(0, key.dim() - 1),
                    ", got ", key_scale.sizes());
}

void check_quant_modes(const char* op, std::int64_t query_mode, std::int64_t key_mode) {
  TORCH_CHECK_VALUE(query_mode == 0 && key_mode == 0, op,
                    ": expected query_quant_mode and key_quant_mode 0 (a scale a token and head), "
                    "got ",
                    query_mode, " and ", key_mode);
}

at::Tensor quant_lightning_indexer(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& weights,
    const at::Tensor& query_dequant_scale, const at::Tensor& key_dequant_scale,
    std::int64_t query_quant_mode, std::int64_t key_quant_mode,
    const MaybeTensor& actual_seq_lengths_query, const MaybeTensor& actual_seq_lengths_key,
    const MaybeTensor& block_table, c10::string_view layout_query, c10::string_view layout_key,
    std::int64_t sparse_count, std::int64_t sparse_mode, std::int64_t pre_tokens,
    std::int64_t next_tokens, std::optional<std::int64_t> query_dtype,
    std::optional<std::int64_t> key_dtype) {
  const Selection how{"npu_quant_lightning_indexer", layout_query, layout_key, sparse_count};
  check_operands(how, query, key, weights);
  check_scales(how, query, key, query_dequant_scale, key_dequant_scale);
  check_quant_modes(how.op, query_quant_mode, key_quant_mode);
  check_masking(how.op, {sparse_mode, pre_tokens, next_tokens});
  const compute::Element query_element = quantised({how.op, "query"}, query, query_dtype);
  const compute::Element key_element = quantised({how.op, "key"}, key, key_dtype);
  const Places places =
      places_of(how, query, key, {actual_seq_lengths_query, actual_seq_lengths_key, block_table});
  const Chosens out = nothing_chosen(chosen_sizes(how, query), query, false);
  const std::int64_t heads = query.size(-2);
  const at::Tensor rows = query.reshape({-1, heads, query.size(-1)});
  const at::Tensor row_weights = weights.reshape({-1, heads});
  const at::Tensor row_scales = query_dequant_scale.reshape({-1, heads});
  const at::Tensor key_codes = key.view(at::kByte);
  const at::Tensor key_scales = key_dequant_scale.unsqueeze(-1);
  for (std::int64_t i = 0; i < std::ssize(places.queries); ++i) {
    const Sequence& queries = places.queries[static_cast<std::size_t>(i)];
    if (queries.length == 0 || places.keys.length(i) == 0) continue;
    const at::Tensor codes = places.keys.all_rows(key_codes, i, 0);
    choose_in({.query = decoded(rows.narrow(0, queries.first, queries.length), query_element),
               .weights = widened(row_weights.narrow(0, queries.first, queries.length)),
               .key = decoded(codes, key_element),
               .query_scale = widened(row_scales.narrow(0, queries.first, queries.length)),
               .key_scale = widened(places.keys.all_rows(key_scales, i, 0).squeeze(-1))},
              sparse_mode, queries, out);
  }
  return out.positions;
}

at::Tensor quant_lightning_indexer_meta(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& weights,
    const at::Tensor& query_dequant_scale, const at::Tensor& key_dequant_scale,
    std::int64_t query_quant_mode, std::int64_t key_quant_mode, const MaybeTensor&,
    const MaybeTensor&, const MaybeTensor&, c10::string_view layout_query,
    c10::string_view layout_key, std::int64_t sparse_count, std::int64_t sparse_mode,
    std::int64_t pre_tokens, std::int64_t next_tokens, std::optional<std::int64_t> query_dtype,
    std::optional<std::int64_t> key_dtype) {
  const Selection how{"npu_quant_lightning_indexer", layout_query, layout_key, sparse_count};
  check_operands(how, query, key, weights);
  check_scales(how, query, key, query_dequant_scale, key_dequant_scale);
  check_quant_modes(how.op, query_quant_mode, key_quant_mode);
  check_masking(how.op, {sparse_mode, pre_tokens, next_tokens});
  (void)quantised({how.op, "query"}, query, query_dtype);
  (void)quantised({how.op, "key"}, key, key_dtype);
  return at::empty(chosen_sizes(how, query), query.options().dtype(at::kInt));
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  host_kernel<&lightning_indexer>(m, "npu_lightning_indexer");
  meta_kernel<&lightning_indexer_meta>(m, "npu_lightning_indexer");
  derivative(m, "npu_lightning_indexer",
             "query, key, weights: npu_lightning_indexer_grad(query, key, grad1, result0, weights, "
             "actual_seq_lengths_query, actual_seq_lengths_key, layout_query, sparse_mode, "
             "pre_tokens, next_tokens)");
  host_kernel<&quant_lightning_indexer>(m, "npu_quant_lightning_indexer");
  meta_kernel<&quant_lightning_indexer_meta>(m, "npu_quant_lightning_indexer");
}

}  // namespace
}  // namespace npu_sim::ops
