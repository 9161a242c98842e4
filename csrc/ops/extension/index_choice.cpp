// npu_quant_lightning_indexer of custom_ops and quant_lightning_indexer of cann_ops_transformer:
// the compressed keys that matter most to each query, where a key stands for cmp_ratio tokens.
//
// A query at position p of its sequence may choose among the first (p + 1) / cmp_ratio keys, those
// whose tokens all lie before it or are its own. Indices fall by score, equal scores go by
// position, -1 fills the rest. Sources: cann-recipes-infer@fbc225d, ops/ascendc/docs;
// vllm-ascend@182b75e, csrc/attention/vllm_quant_lightning_indexer/op_kernel/arch35.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "ops/extension/compressed_spans.h"
#include "ops/extension/registration.h"
#include "ops/format/coded.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"
#include "ops/sparse/index_scores.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

// --- work: the products of all heads with the keys that may be chosen, scores never leaving the
// chip (an attention without values), and a selection in each query's scores.
struct Places {
  std::size_t query_lengths;  // argument, running sums in layout TND
  std::size_t key_lengths;
  std::size_t residual;  // argument; 0: none, and key lengths count tokens
  std::size_t table;
  std::size_t query_layout;
  std::size_t count;
  std::size_t mask;
  std::size_t ratio;
};

// Lengths in tokens. The table covers the keys of the longest sequence, where values are unknown.
template <Places where>
CompressedSpans spans(const aten::Call& call) {
  constexpr bool kCompressed = where.residual != 0;
  const std::int64_t ratio = aten::integer_at(call, where.ratio, 1);
  const std::int64_t most = aten::size_along(aten::tensor_at(call, where.table), 1) *
                            aten::size_along(call.argument(1), 1);
  CompressedSpans found =
      compressed_spans(call, {.query_lengths = where.query_lengths,
                              .key_lengths = where.key_lengths,
                              .query_layout = where.query_layout,
                              .from_zero = kCompressed,
                              .unknown_keys = kCompressed ? most : most * ratio});
  if constexpr (kCompressed) {
    const auto residual = aten::integers_at(call, where.residual);
    for (std::size_t i = 0; i < found.tokens.size(); ++i) {
      const bool known = residual.has_value() && i < residual->size();
      found.tokens[i] = found.tokens[i] * ratio + (known ? (*residual)[i] : 0);
    }
  }
  return found;
}

template <Places where>
model::AttentionWork even_scores(const aten::Call& call) {
  const at::Tensor& query = call.argument(0);
  const CompressedSpans found = spans<where>(call);
  const std::int64_t ratio = aten::integer_at(call, where.ratio, 1);
  const bool masked = aten::integer_at(call, where.mask, 0) == 3;
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  for (std::size_t s = 0; s < found.queries.size(); ++s) {
    queries += found.queries[s];
    for (std::int64_t i = 0; i < found.queries[s]; ++i) {
      keys += masked ? found.visible(s, i, ratio) : found.tokens[s] / ratio;
    }
  }
  const auto sequences = static_cast<std::int64_t>(found.queries.size());
  return {.batch = sequences,
          .q_heads = aten::size_along(query, -2),
          .kv_heads = 1,
          .q_len = aten::ratio(queries, sequences),
          .kv_len = aten::ratio(keys, queries),
          .qk_dim = aten::size_along(query, -1),
          .format = aten::format_of(query),
          .kv_block = aten::size_along(call.argument(1), 1)};
}

template <Places where>
model::Work score_work(const aten::Call& call) {
  return even_scores<where>(call);
}
template <Places where>
model::Work selection_work(const aten::Call& call) {
  const model::AttentionWork scores = even_scores<where>(call);
  if (scores.kv_len == 0) return model::NoWork{};
  return model::SortWork{.rows = scores.batch * scores.q_len,
                         .columns = scores.kv_len,
                         .k = std::min(aten::integer_at(call, where.count, 2048), scores.kv_len),
                         .format = model::Format::kFp32,
                         .written = aten::bytes_of(call.result(0))};
}

constexpr Places kCustom{.query_lengths = 7,
                         .key_lengths = 8,
                         .residual = 0,
                         .table = 9,
                         .query_layout = 11,
                         .count = 13,
                         .mask = 14,
                         .ratio = 17};
constexpr Places kCann{.query_lengths = 7,
                       .key_lengths = 10,
                       .residual = 11,
                       .table = 12,
                       .query_layout = 16,
                       .count = 5,
                       .mask = 18,
                       .ratio = 19};
constexpr aten::Describer kCustomSelection[] = {selection_work<kCustom>};
constexpr aten::Describer kCannSelection[] = {selection_work<kCann>};
constexpr aten::Entry kEntries[] = {
    {"custom::npu_quant_lightning_indexer", score_work<kCustom>, kCustomSelection},
    {"cann_ops_transformer::quant_lightning_indexer", score_work<kCann>, kCannSelection},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- checks
struct Choosing {
  const char* op;
  const at::Tensor& query;
  const at::Tensor& key;
  const at::Tensor& weights;
  const at::Tensor& query_scale;
  const at::Tensor& key_scale;
  compute::Element query_element = compute::Element::kE4m3;
  compute::Element key_element = compute::Element::kE4m3;
  std::string_view layout_query{};
  std::int64_t count = 0;
  std::int64_t ratio = 1;
  bool masked = true;
  bool one_scale = false;  // a scale of one element for all, instead of one a token and head
};

std::vector<std::int64_t> chosen_sizes(const Choosing& on) {
  std::vector<std::int64_t> sizes = on.query.sizes().vec();
  sizes[sizes.size() - 2] = 1;
  sizes.back() = on.count;
  return sizes;
}

compute::Element quantised(ArgumentName name, const at::Tensor& tensor,
                           std::optional<std::int64_t> dtype) {
  const std::optional<compute::Element> element = element_of(tensor, dtype);
  const bool known = element == compute::Element::kInt8 || element == compute::Element::kE4m3 ||
                     element == compute::Element::kHifloat8;
  TORCH_CHECK_TYPE(known && tensor.element_size() == 1, name.op, ": expected ", name.argument,
                   " of int8, float8_e4m3fn, or uint8 that holds hifloat8, got ",
                   tensor.scalar_type());
  return *element;
}

void check_ratio(const char* op, std::int64_t ratio) {
  TORCH_CHECK_VALUE(ratio == 1 || ratio == 4 || ratio == 128, op,
                    ": expected cmp_ratio of 1, 4 or 128, got ", ratio);
}

void check_scales(const Choosing& on) {
  TORCH_CHECK_TYPE(on.query_scale.is_floating_point() && on.key_scale.is_floating_point(), on.op,
                   ": expected floating query_dequant_scale and key_dequant_scale, got ",
                   on.query_scale.scalar_type(), " and ", on.key_scale.scalar_type());
  if (on.one_scale) {
    TORCH_CHECK_VALUE(on.query_scale.numel() == 1 && on.key_scale.numel() == 1, on.op,
                      ": expected query_dequant_scale and key_dequant_scale of [1], got ",
                      on.query_scale.sizes(), " and ", on.key_scale.sizes());
    return;
  }
  const auto tokens = on.query.sizes().slice(0, static_cast<std::size_t>(on.query.dim() - 1));
  TORCH_CHECK_VALUE(on.query_scale.sizes() == tokens, on.op, ": expected query_dequant_scale of ",
                    tokens, ", got ", on.query_scale.sizes());
  TORCH_CHECK_VALUE(on.key_scale.sizes() == on.key.sizes().slice(0, 3), on.op,
                    ": expected key_dequant_scale of ", on.key.sizes().slice(0, 3), ", got ",
                    on.key_scale.sizes());
}

void check(const Choosing& on, std::string_view layout_key, std::string_view paged) {
  TORCH_CHECK_VALUE(on.layout_query == "BSND" || on.layout_query == "TND", on.op,
                    ": expected a query layout of BSND or TND, got ", on.layout_query);
  TORCH_CHECK_VALUE(layout_key == paged, on.op, ": expected a key layout of ", paged,
                    ", the only one of the card, got ", layout_key);
  const std::int64_t axes = on.layout_query == "TND" ? 3 : 4;
  TORCH_CHECK_VALUE(on.query.dim() == axes && on.query.numel() > 0, on.op, ": expected query of ",
                    axes, " axes in layout ", on.layout_query, ", none of them empty, got ",
                    on.query.sizes());
  TORCH_CHECK_VALUE(on.key.dim() == 4 && on.key.numel() > 0 && on.key.size(2) == 1 &&
                        on.key.size(3) == on.query.size(-1),
                    on.op, ": expected key of [blocks, tokens, 1, ", on.query.size(-1), "], got ",
                    on.key.sizes());
  const auto tokens = on.query.sizes().slice(0, static_cast<std::size_t>(axes - 1));
  TORCH_CHECK_VALUE(on.weights.sizes() == tokens, on.op, ": expected weights of ", tokens, ", got ",
                    on.weights.sizes());
  TORCH_CHECK_TYPE(on.weights.is_floating_point(), on.op, ": expected floating weights, got ",
                   on.weights.scalar_type());
  constexpr std::int64_t kMostChosen = 2048;
  TORCH_CHECK_VALUE(on.count > 0 && on.count <= kMostChosen, on.op,
                    ": expected a number of keys to choose in [1, ", kMostChosen, "], got ",
                    on.count);
  check_ratio(on.op, on.ratio);
  check_scales(on);
}

// --- compute
// Chooses for the queries of sequence `s`; `block` has what is the same for all of them.
void choose_in(const Choosing& on, const IndexBlock& block, const CompressedSpans& spans,
               std::size_t s, std::int32_t* positions) {
  const std::int64_t keys = block.key.size(0);
  for_index_scores(block, [&](std::int64_t first, const at::Tensor& scores) {
    for (std::int64_t i = 0; i < scores.size(0); ++i) {
      const std::int64_t seen = on.masked ? spans.visible(s, first + i, on.ratio) : keys;
      choose(scores.const_data_ptr<float>() + i * keys, seen,
             {.best = on.count, .positions = positions + (first + i) * on.count});
    }
  });
}

// `tokens`: of each sequence, before compression.
at::Tensor chosen(const Choosing& on, const std::vector<Sequence>& queries, const Integers& tokens,
                  const Keys& keys) {
  const at::Tensor out = at::full(chosen_sizes(on), -1, on.query.options().dtype(at::kInt));
  auto* const positions = out.mutable_data_ptr<std::int32_t>();
  const std::int64_t heads = on.query.size(-2);
  const at::Tensor rows = on.query.reshape({-1, heads, on.query.size(-1)});
  const at::Tensor weights = on.weights.reshape({-1, heads});
  const at::Tensor codes = on.key.view(at::kByte);
  CompressedSpans spans{.queries = {}, .tokens = tokens};
  for (const Sequence& sequence : queries) spans.queries.push_back(sequence.length);
  for (std::size_t s = 0; s < queries.size(); ++s) {
    const auto& [first, count] = queries[s];
    const auto sequence = static_cast<std::int64_t>(s);
    if (count == 0 || keys.length(sequence) == 0) continue;
    IndexBlock block{
        .query = decoded(rows.narrow(0, first, count).contiguous(), on.query_element),
        .weights = widened(weights.narrow(0, first, count)),
        .key = decoded(keys.all_rows(codes, sequence, 0).contiguous(), on.key_element)};
    if (on.one_scale) {
      block.weights = block.weights * widened(on.query_scale * on.key_scale);
    } else {
      block.query_scale = widened(on.query_scale.reshape({-1, heads}).narrow(0, first, count));
      block.key_scale = widened(keys.all_rows(on.key_scale.unsqueeze(-1), sequence, 0).squeeze(-1));
    }
    choose_in(on, block, spans, s, positions + first * on.count);
  }
  return out;
}

using Two = std::tuple<at::Tensor, at::Tensor>;

Two with_values(const at::Tensor& indices, at::ScalarType dtype) {
  return {indices, at::empty({0}, indices.options().dtype(dtype))};
}

// --- op
Two quant_lightning_indexer(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& weights,
    const at::Tensor& query_dequant_scale, const at::Tensor& key_dequant_scale,
    std::int64_t query_quant_mode, std::int64_t key_quant_mode,
    const MaybeTensor& actual_seq_lengths_query, const MaybeTensor& actual_seq_lengths_key,
    const MaybeTensor& block_table, const MaybeTensor& /*metadata: a plan*/,
    c10::string_view layout_query, c10::string_view layout_key, std::int64_t sparse_count,
    std::int64_t sparse_mode, std::int64_t pre_tokens, std::int64_t next_tokens,
    std::int64_t cmp_ratio, bool return_value, std::optional<std::int64_t> query_dtype,
    std::optional<std::int64_t> key_dtype) {
  constexpr const char* kOp = "npu_quant_lightning_indexer";
  TORCH_CHECK_VALUE(query_quant_mode == 0 && key_quant_mode == 0, kOp,
                    ": expected query_quant_mode and key_quant_mode 0 (a scale a token and head), "
                    "got ",
                    query_quant_mode, " and ", key_quant_mode);
  TORCH_CHECK_VALUE(!return_value, kOp, ": expected return_value=False, the card has no other");
  check_masking(kOp, {sparse_mode, pre_tokens, next_tokens});
  const Choosing on{.op = kOp,
                    .query = query,
                    .key = key,
                    .weights = weights,
                    .query_scale = query_dequant_scale,
                    .key_scale = key_dequant_scale,
                    .query_element = quantised({kOp, "query"}, query, query_dtype),
                    .key_element = quantised({kOp, "key"}, key, key_dtype),
                    .layout_query = layout_query,
                    .count = sparse_count,
                    .ratio = cmp_ratio,
                    .masked = sparse_mode == 3};
  check(on, layout_key, "PA_BSND");
  if (query.is_meta()) {
    return with_values(at::empty(chosen_sizes(on), query.options().dtype(at::kInt)), at::kFloat);
  }
  const ArgumentName queries_name{.op = kOp, .argument = "actual_seq_lengths_query"};
  const ArgumentName keys_name{.op = kOp, .argument = "actual_seq_lengths_key"};
  const std::vector<Sequence> queries = query_sequences(
      queries_name, query, layout_query, integers_if_given(queries_name, actual_seq_lengths_query));
  const std::optional<Integers> tokens = integers_if_given(keys_name, actual_seq_lengths_key);
  TORCH_CHECK_VALUE(tokens.has_value(), kOp, ": expected actual_seq_lengths_key, got None");
  const Keys keys({.op = kOp, .name = "PA_BSND", .lengths = keys_name.argument}, key,
                  divided(*tokens, cmp_ratio), block_table, std::ssize(queries));
  return with_values(chosen(on, queries, *tokens, keys), at::kFloat);
}

// quant_mode: 1 E4M3 and 2 int8 with a scale a token and head, 4 HiFloat8 with one scale.
Two compressed_lightning_indexer(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& weights,
    const at::Tensor& query_dequant_scale, const at::Tensor& key_dequant_scale, std::int64_t topk,
    std::int64_t quant_mode, const MaybeTensor& cu_seqlens_q, const MaybeTensor& cu_seqlens_k,
    const MaybeTensor& seqused_q, const MaybeTensor& seqused_k, const MaybeTensor& cmp_residual_k,
    const MaybeTensor& block_table, const MaybeTensor& output_idx_offset,
    const MaybeTensor& /*metadata: a plan*/, std::int64_t /*max_seqlen_q*/,
    c10::string_view layout_q, c10::string_view layout_k, std::int64_t mask_mode,
    std::int64_t cmp_ratio, std::int64_t return_value) {
  constexpr const char* kOp = "quant_lightning_indexer";
  constexpr std::int64_t kHifloat8 = 290;
  TORCH_CHECK_VALUE(quant_mode == 1 || quant_mode == 2 || quant_mode == 4, kOp,
                    ": expected quant_mode 1 (E4M3), 2 (int8) or 4 (HiFloat8), got ", quant_mode);
  TORCH_CHECK_VALUE(mask_mode == 0 || mask_mode == 3, kOp,
                    ": expected mask_mode 0 (all keys) or 3 (right-down causal), got ", mask_mode);
  TORCH_CHECK_NOT_IMPLEMENTED(return_value == 0, kOp, ": return_value is not built yet");
  TORCH_CHECK_NOT_IMPLEMENTED(
      !given(cu_seqlens_k) && !given(seqused_q) && !given(output_idx_offset), kOp,
      ": cu_seqlens_k, seqused_q and output_idx_offset are not built yet");
  const bool one_scale = quant_mode == 4;
  const auto dtype = one_scale ? std::optional(kHifloat8) : std::nullopt;
  const Choosing on{.op = kOp,
                    .query = query,
                    .key = key,
                    .weights = weights,
                    .query_scale = query_dequant_scale,
                    .key_scale = key_dequant_scale,
                    .query_element = quantised({kOp, "query"}, query, dtype),
                    .key_element = quantised({kOp, "key"}, key, dtype),
                    .layout_query = layout_q,
                    .count = topk,
                    .ratio = cmp_ratio,
                    .masked = mask_mode == 3,
                    .one_scale = one_scale};
  check(on, layout_k, "PA_BBND");
  if (query.is_meta()) {
    return with_values(at::empty(chosen_sizes(on), query.options().dtype(at::kInt)), at::kBFloat16);
  }
  const std::vector<Sequence> queries =
      sequences_from_zero({kOp, "cu_seqlens_q"}, query, layout_q, cu_seqlens_q);
  const ArgumentName keys_name{.op = kOp, .argument = "seqused_k"};
  const std::optional<Integers> lengths = integers_if_given(keys_name, seqused_k);
  TORCH_CHECK_VALUE(lengths.has_value(), kOp, ": expected seqused_k, got None");
  const Keys keys({.op = kOp, .name = "PA_BBND", .lengths = keys_name.argument}, key, lengths,
                  block_table, std::ssize(queries));
  const Integers tokens =
      uncompressed({kOp, "cmp_residual_k"}, *lengths, cmp_ratio, cmp_residual_k);
  return with_values(chosen(on, queries, tokens, keys), at::kBFloat16);
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&quant_lightning_indexer>(m, "npu_quant_lightning_indexer");
});
[[maybe_unused]] const bool kExtendsCann = extend("cann_ops_transformer", [](torch::Library& m) {
  composed_kernel<&compressed_lightning_indexer>(m, "quant_lightning_indexer");
});

}  // namespace
}  // namespace npu_sim::ops
