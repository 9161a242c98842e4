#include "ops/attention/infer_work.h"

#include "aten/describe/operands.h"
#include "aten/describe/values.h"
#include "ops/attention/infer_layout.h"
#include "ops/attention/paged_source.h"
#include "ops/format/coded.h"
#include "ops/sparse/selected_work.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

constexpr ArgumentName kName{.op = "inference attention", .argument = "lengths"};

// The key heads of a call: as many as query's where it says none.
std::int64_t kv_heads_of(const aten::Call& call, const InferPlaces& places, std::int64_t heads) {
  const std::int64_t said = aten::integer_at(call, places.kv_heads, 0);
  return said == 0 ? heads : said;
}

bool is_paged(const aten::Call& call, const InferPlaces& places) {
  return aten::tensor_at(call, places.block_table).defined();
}

// Keys or values seen heads first.
at::Tensor kv_heads_first(const aten::Call& call, const InferPlaces& places, std::size_t index,
                          Axes axes, std::int64_t heads) {
  const at::Tensor& tensor = aten::tensor_at(call, index);
  return is_paged(call, places) ? cache_heads_first(kName, tensor, heads)
                                : heads_first(tensor, axes, heads);
}

Integers lengths_of(const std::vector<TokenSpan>& spans) {
  Integers lengths;
  for (const TokenSpan& span : spans) lengths.push_back(span.length);
  return lengths;
}

struct Operands {
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  Axes axes = Axes::kBsh;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
};

Operands operands_of(const aten::Call& call, const InferPlaces& places) {
  Operands on;
  on.axes = infer_layout(kName.op, text_at(call, places.layout, "BSH")).operands;
  on.heads = aten::integer_at(call, places.heads, 1);
  on.kv_heads = kv_heads_of(call, places, on.heads);
  on.query = heads_first(call.argument(0), on.axes, on.heads);
  on.key = kv_heads_first(call, places, 1, on.axes, on.kv_heads);
  on.value = kv_heads_first(call, places, 2, on.axes, on.kv_heads);
  return on;
}

Spans spans_in(const aten::Call& call, const InferPlaces& places, const Operands& on) {
  const auto query_lengths = aten::integers_at(call, places.query_lengths);
  const auto key_lengths = aten::integers_at(call, places.key_lengths);
  const bool one = on.query.size(2) == 1 && !is_flat(on.axes);
  Spans spans;
  spans.queries = lengths_of(
      token_spans({.name = kName, .values = one ? std::nullopt : query_lengths, .padding = {}},
                  on.axes, on.query.sizes()));
  const auto sequences = static_cast<std::int64_t>(spans.queries.size());
  if (is_paged(call, places)) {
    const std::int64_t longest =
        aten::tensor_at(call, places.block_table).size(1) * on.key.size(on.key.dim() - 2);
    spans.keys = lengths_for(kName, key_lengths.value_or(Integers{longest}), sequences, longest);
  } else {
    spans.keys = lengths_of(token_spans({.name = kName, .values = key_lengths, .padding = {}},
                                        on.axes, on.key.sizes()));
  }
  const at::Tensor& prefix = aten::tensor_at(call, places.key_prefix);
  if (prefix.defined()) {
    const std::int64_t shared = heads_first(prefix, on.axes, on.kv_heads).size(2);
    for (std::int64_t& keys : spans.keys) keys += shared;
  }
  return spans;
}

// Latent attention passes the same memory as key and value.
bool is_same_memory(const at::Tensor& a, const at::Tensor& b) {
  return a.has_storage() && b.has_storage() && a.storage().is_alias_of(b.storage()) &&
         a.storage_offset() == b.storage_offset() && a.strides() == b.strides();
}

// Bytes of a row of one head as it is stored.
std::int64_t row_bytes(const at::Tensor& rows) {
  return row_width(rows) * static_cast<std::int64_t>(rows.element_size());
}

base::Format format_in(const aten::Call& call, const InferPlaces& places) {
  const at::Tensor& query = call.argument(0);
  const std::int64_t said = aten::integer_at(call, places.query_dtype, -1);
  const auto element = element_of(query, said < 0 ? std::nullopt : std::optional(said));
  return element.has_value() ? format_of(*element) : aten::format_of(query);
}

}  // namespace

model::Work infer_work(const aten::Call& call, const InferPlaces& places) {
  if (call.result().numel() == 0) return model::NoWork{};
  const Operands on = operands_of(call, places);
  const std::int64_t mode = aten::integer_at(call, places.sparse_mode, 0);
  const bool causal = mode == 2 || mode == 3 || mode == 4;
  model::AttentionWork work = even_work(spans_in(call, places, on), causal ? 3 : 0);
  if (work.batch == 0) return model::NoWork{};
  const at::Tensor& rope = aten::tensor_at(call, places.query_rope);
  const at::Tensor& mask = aten::tensor_at(call, places.mask);
  const std::int64_t width = on.query.size(3);
  work.q_heads = on.heads;
  work.kv_heads = on.kv_heads;
  const std::int64_t rope_width = rope.defined() ? heads_first(rope, on.axes, on.heads).size(3) : 0;
  work.qk_dim = width + rope_width;
  work.v_dim = aten::ratio(call.result().numel(), on.query.numel() / width);
  work.format = format_in(call, places);
  // A triangle of 2048 x 2048 stays in the L2.
  work.mask = (causal ? base::Bytes{} : aten::bytes_of(mask)) +
              aten::bytes_of(aten::tensor_at(call, places.bias));
  work.v_in_k = is_same_memory(call.argument(1), call.argument(2));
  if (on.key.element_size() < on.query.element_size()) {
    work.kv_row = base::Bytes(row_bytes(on.key) + (work.v_in_k ? 0 : row_bytes(on.value)) +
                              rope_width * static_cast<std::int64_t>(on.query.element_size()));
  }
  if (mode == 4)
    work.window = std::min(work.kv_len, aten::integer_at(call, places.pre_tokens, 0) + 1);
  if (is_paged(call, places)) work.kv_block = on.key.size(on.key.dim() - 2);
  return work;
}

}  // namespace npu_sim::ops
