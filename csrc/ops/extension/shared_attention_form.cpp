#include "ops/extension/shared_attention_form.h"

#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "aten/describe/operands.h"

namespace npu_sim::ops {
namespace {

struct Scores {
  std::int64_t sequences = 0;
  std::int64_t queries = 0;
  std::int64_t keys = 0;  // of all queries together
};

Scores scores_of(const aten::Call& call, const SharedSources& where) {
  const std::int64_t ratio = std::max<std::int64_t>(aten::integer_at(call, where.ratio, 1), 1);
  const std::int64_t before = aten::integer_at(call, where.before, -1);
  const at::Tensor& own = aten::tensor_at(call, where.own);
  const at::Tensor& chosen = aten::tensor_at(call, where.indices);
  const bool compresses = aten::tensor_at(call, where.own + 1).defined();
  const CompressedSpans spans = compressed_spans(
      call, {.query_lengths = where.query_lengths,
             .key_lengths = where.key_lengths,
             .query_layout = where.query_layout,
             .from_zero = true,
             .unknown_keys = aten::size_along(aten::tensor_at(call, where.own_table), 1) *
                             aten::size_along(own, 1)});
  Scores scores{.sequences = static_cast<std::int64_t>(spans.queries.size())};
  for (std::size_t s = 0; s < spans.queries.size(); ++s) {
    scores.queries += spans.queries[s];
    for (std::int64_t i = 0; i < spans.queries[s]; ++i) {
      const std::int64_t position = std::max<std::int64_t>(spans.position(s, i) + 1, 0);
      scores.keys += before < 0 ? position : std::min(position, before + 1);
      if (!compresses) continue;
      const std::int64_t visible = spans.visible(s, i, ratio);
      scores.keys += chosen.defined() ? std::min(visible, chosen.size(-1)) : visible;
    }
  }
  return scores;
}

void check_cache(const SharedArguments& on, const char* argument, const at::Tensor& cache,
                 at::ScalarType dtype, std::int64_t columns) {
  TORCH_CHECK_TYPE(cache.scalar_type() == dtype, on.op, ": expected ", argument, " of ", dtype,
                   ", got ", cache.scalar_type());
  TORCH_CHECK_VALUE(
      cache.dim() == 4 && cache.numel() > 0 && cache.size(2) == 1 && cache.size(3) == columns,
      on.op, ": expected ", argument, " of [blocks, tokens, 1, ", columns,
      "] without empty axes, got ", cache.sizes());
}

void check_indices(const SharedArguments& on) {
  if (!given(on.indices)) return;
  TORCH_CHECK_VALUE(given(on.compressed), on.op,
                    ": expected cmp_kv with cmp_sparse_indices, got None");
  std::vector<std::int64_t> sizes = on.query.sizes().vec();
  sizes[sizes.size() - 2] = 1;
  sizes.back() = on.indices->dim() == on.query.dim() ? on.indices->size(-1) : 0;
  TORCH_CHECK_VALUE(on.indices->sizes() == sizes && sizes.back() > 0, on.op,
                    ": expected cmp_sparse_indices of q's tokens, one head and at least one key, ",
                    "got ", on.indices->sizes(), " for q ", on.query.sizes());
  TORCH_CHECK_TYPE(on.indices->scalar_type() == at::kInt, on.op,
                   ": expected cmp_sparse_indices of int32, got ", on.indices->scalar_type());
}

KeyCache cache_of(const SharedArguments& on, const char* lengths_name, const MaybeTensor& cache,
                  const MaybeTensor& table, const Integers& lengths, const DecodeKeys& decode) {
  return {.cache = *cache,
          .places = Keys({.op = on.op, .name = "PA_BSND", .lengths = lengths_name}, *cache, lengths,
                         table, std::ssize(lengths)),
          .decode = decode};
}

}  // namespace

void check_shared(const SharedArguments& on, at::ScalarType dtype, std::int64_t columns) {
  TORCH_CHECK_VALUE(on.layout_query == "BSND" || on.layout_query == "TND", on.op,
                    ": expected layout_q BSND or TND, got ", on.layout_query);
  const std::int64_t axes = on.layout_query == "TND" ? 3 : 4;
  TORCH_CHECK_VALUE(on.query.dim() == axes && on.query.numel() > 0, on.op, ": expected q of ", axes,
                    " axes in layout ", on.layout_query, ", none of them empty, got ",
                    on.query.sizes());
  TORCH_CHECK_VALUE(given(on.own), on.op, ": expected ori_kv, got None");
  check_cache(on, "ori_kv", *on.own, dtype, columns);
  if (given(on.compressed)) {
    check_cache(on, "cmp_kv", *on.compressed, dtype, columns);
    TORCH_CHECK_VALUE(on.ratio == 4 || on.ratio == 128, on.op,
                      ": expected cmp_ratio of 4 or 128 with cmp_kv, got ", on.ratio);
  } else {
    TORCH_CHECK_VALUE(on.ratio == 0 || on.ratio == 1, on.op,
                      ": expected cmp_ratio of 1 without cmp_kv, got ", on.ratio);
  }
  check_indices(on);
  if (!given(on.sinks)) return;
  TORCH_CHECK_VALUE(on.sinks->sizes() == at::IntArrayRef{on.query.size(-2)}, on.op,
                    ": expected sinks of [", on.query.size(-2), "], one a head, got ",
                    on.sinks->sizes());
  TORCH_CHECK_TYPE(on.sinks->scalar_type() == at::kFloat, on.op,
                   ": expected sinks of float32, got ", on.sinks->scalar_type());
}

void refuse_reserved(const char* op, std::initializer_list<NamedTensor> reserved) {
  for (const auto& [argument, tensor] : reserved) {
    TORCH_CHECK_NOT_IMPLEMENTED(!given(tensor) || tensor->numel() == 0, op, ": ", argument,
                                " is reserved, the card's kernel has no use for it yet");
  }
}

void check_layout_of_keys(const char* op, std::string_view layout, std::string_view only) {
  TORCH_CHECK_VALUE(layout == only, op, ": expected layout_kv of ", only,
                    ", the only one of the card, got ", layout);
}

void check_no_statistics(const char* op, bool wanted) {
  TORCH_CHECK_NOT_IMPLEMENTED(!wanted, op, ": return_softmax_lse is not there on the card either");
}

Integers lengths_in(ArgumentName name, const MaybeTensor& lengths, std::size_t sequences) {
  const std::optional<Integers> values = integers_if_given(name, lengths);
  TORCH_CHECK_VALUE(values.has_value() && values->size() == sequences, name.op, ": expected ",
                    name.argument, " of ", sequences, " sequences, got ",
                    values.has_value() ? std::to_string(values->size()) : "None");
  return *values;
}

at::Tensor shared_attention(const SharedArguments& on, const std::vector<Sequence>& queries,
                            const Integers& tokens, double scale, const Decoding& decoding) {
  const at::Tensor& query = on.query;
  const std::int64_t heads = query.size(-2);
  CompressedSpans spans{.queries = {}, .tokens = tokens};
  for (const Sequence& sequence : queries) spans.queries.push_back(sequence.length);
  const bool compresses = given(on.compressed);
  const std::int64_t ratio = compresses ? on.ratio : 1;
  const SharedAttention attention{
      .query = decoding.query.reshape({-1, heads, query.size(-1)}),
      .sinks = given(on.sinks) ? *on.sinks : at::Tensor(),
      .indices = given(on.indices) ? on.indices->contiguous().view({-1, on.indices->size(-1)})
                                   : at::Tensor(),
      .scale = scale == 0 ? 1 / std::sqrt(static_cast<double>(query.size(-1))) : scale,
      .ratio = ratio,
      .window = on.window,
      .causal = on.causal};
  const KeyCache own = cache_of(on, "seqused_kv", on.own, on.own_table, tokens, decoding.own);
  const KeyCache compressed = compresses
                                  ? cache_of(on, "seqused_kv", on.compressed, on.compressed_table,
                                             divided(tokens, ratio), decoding.compressed)
                                  : KeyCache{.places = own.places};
  return attended(attention, queries, spans, own, compressed).view(query.sizes());
}

model::Work shared_work(const aten::Call& call, const SharedSources& where) {
  const at::Tensor& query = call.argument(0);
  const Scores scores = scores_of(call, where);
  const bool chosen = aten::tensor_at(call, where.indices).defined();
  const bool hifloat8 = query.scalar_type() == at::kByte;
  const at::Tensor& keys = aten::tensor_at(call, where.own);
  const bool packed = keys.element_size() < query.element_size();
  return model::AttentionWork{
      .batch = chosen ? scores.queries : scores.sequences,
      .q_heads = aten::size_along(query, -2),
      .kv_heads = 1,
      .q_len = chosen ? 1 : aten::ratio(scores.queries, scores.sequences),
      .kv_len = aten::ratio(scores.keys, scores.queries),
      .qk_dim = aten::size_along(query, -1),
      .v_dim = aten::size_along(query, -1),
      .format = hifloat8 ? model::Format::kHif8 : aten::format_of(query),
      .v_in_k = true,
      .kv_block = chosen ? 1 : aten::size_along(keys, 1),
      .kv_row = packed ? base::Bytes(aten::size_along(keys, -1)) : base::Bytes(0)};
}

}  // namespace npu_sim::ops
