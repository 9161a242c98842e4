// The work of attention to keys chosen for each query: an attention whose batches are queries.
#pragma once

#include "model/work/work.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {

struct SelectedSizes {
  std::size_t query = 0;        // the argument whose heads look
  std::size_t indices = 0;      // the argument with the chosen blocks
  std::size_t sparse_mode = 0;  // the argument
  std::int64_t block_size = 1;  // tokens a block
  std::int64_t qk_dim = 0;
  std::int64_t v_dim = 0;
  base::Format format = base::Format::kBf16;
  bool backward = false;
  base::Bytes kv_row{};  // of a token, where the cache stores it quantised
};

// Queries read as many keys as their blocks hold and they may see; what was chosen is not read.
[[nodiscard]] model::Work selected_work(const aten::Call& call, const SpanArguments& where,
                                        const SelectedSizes& sizes);

// Attention of all queries to all keys that they may see, of any lengths: sequences, q_len, kv_len
// and causal of a work whose sizes are even. Sequences of different lengths are taken as those of
// the same number of scores.
[[nodiscard]] model::AttentionWork even_work(const Spans& spans, std::int64_t sparse_mode);

}  // namespace npu_sim::ops
