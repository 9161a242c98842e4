#include "ops/sparse/selected_work.h"

#include <algorithm>

#include "aten/describe/operands.h"

namespace npu_sim::ops {

model::Work selected_work(const aten::Call& call, const SpanArguments& where,
                          const SelectedSizes& sizes) {
  const Spans spans = spans_of(call, where);
  const std::int64_t blocks = aten::size_along(aten::tensor_at(call, sizes.indices), -1);
  const std::int64_t most = blocks * std::max<std::int64_t>(1, sizes.block_size);
  const std::int64_t mode = aten::integer_at(call, sizes.sparse_mode, 3);
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  for (std::size_t s = 0; s < spans.queries.size(); ++s) {
    queries += spans.queries[s];
    for (std::int64_t i = 0; i < spans.queries[s]; ++i) {
      keys += std::min(most, visible(mode, spans.keys[s], spans.queries[s], i));
    }
  }
  return model::AttentionWork{.batch = queries,
                              .q_heads = aten::size_along(aten::tensor_at(call, sizes.query), -2),
                              .kv_heads = 1,
                              .q_len = 1,
                              .kv_len = aten::ratio(keys, queries),
                              .qk_dim = sizes.qk_dim,
                              .v_dim = sizes.v_dim,
                              .format = sizes.format,
                              .backward = sizes.backward,
                              .v_in_k = true,
                              .kv_block = sizes.block_size,
                              .kv_row = sizes.kv_row};
}

model::AttentionWork even_work(const Spans& spans, std::int64_t sparse_mode) {
  std::int64_t sequences = 0;
  std::int64_t queries = 0;
  std::int64_t scores = 0;
  bool even = true;
  for (std::size_t s = 0; s < spans.queries.size(); ++s) {
    even = even && spans.queries[s] == spans.queries[0] && spans.keys[s] == spans.keys[0];
    if (spans.queries[s] == 0 || spans.keys[s] == 0) continue;
    ++sequences;
    queries += spans.queries[s];
    for (std::int64_t i = 0; i < spans.queries[s]; ++i) {
      scores += visible(sparse_mode, spans.keys[s], spans.queries[s], i);
    }
  }
  model::AttentionWork work{.batch = sequences, .kv_heads = 1};
  if (sequences == 0) return work;
  work.q_len = (queries + sequences - 1) / sequences;
  work.kv_len = even ? spans.keys[0] : aten::ratio(scores, queries);
  work.causal = even && sparse_mode == 3;
  return work;
}

}  // namespace npu_sim::ops
