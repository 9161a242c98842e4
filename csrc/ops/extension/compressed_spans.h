// Sequences whose tokens are also kept compressed, one key for `ratio` of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "aten/describe/call.h"
#include "ops/format/element_of.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {

struct CompressedSpans {
  Integers queries;  // of each sequence
  Integers tokens;   // of each sequence before compression; the queries are the last ones

  // The position of query `index` of sequence `s`.
  [[nodiscard]] std::int64_t position(std::size_t s, std::int64_t index) const {
    return tokens[s] - queries[s] + index;
  }

  // Compressed keys that the query may see: those of tokens up to its own.
  [[nodiscard]] std::int64_t visible(std::size_t s, std::int64_t index, std::int64_t ratio) const {
    return std::clamp<std::int64_t>((position(s, index) + 1) / ratio, 0, tokens[s] / ratio);
  }
};

// Each length divided by `ratio`, rounded down.
[[nodiscard]] Integers divided(const Integers& lengths, std::int64_t ratio);

// Tokens of `lengths` compressed keys and of a rest each (none: no rest). Raises ValueError, as by
// `name`, unless there is a rest for each sequence.
[[nodiscard]] Integers uncompressed(ArgumentName name, const Integers& lengths, std::int64_t ratio,
                                    const MaybeTensor& rest);

// Sequences of `query`, whose running sums `starts` begin with 0 in layout TND and are not given in
// BSND. Raises ValueError otherwise.
[[nodiscard]] std::vector<Sequence> sequences_from_zero(ArgumentName name, const at::Tensor& query,
                                                        std::string_view layout,
                                                        const MaybeTensor& starts);

// --- for describers
struct SpanSources {
  std::size_t query = 0;
  std::size_t query_lengths = 0;
  std::size_t key_lengths = 0;
  std::size_t query_layout = 0;
  bool from_zero = false;         // running sums of layout TND begin with 0
  std::int64_t unknown_keys = 0;  // of a sequence, where the values of key_lengths are unknown
};

// Lengths of a finished call, `tokens` in the unit of key_lengths; even where values are unknown.
[[nodiscard]] CompressedSpans compressed_spans(const aten::Call& call, const SpanSources& where);

}  // namespace npu_sim::ops
