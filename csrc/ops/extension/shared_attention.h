// Attention of DeepSeek-V4: every head shares one key, which is the value too. A query sees a
// window of its sequence's own keys and, of the compressed ones, all or those that an indexer
// chose.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "ops/extension/compressed_spans.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {

// Rows of a cache [keys, columns] -> keys in fp32 [keys, width].
using DecodeKeys = std::function<at::Tensor(const at::Tensor&)>;

// Keys of all sequences in a cache of [blocks, tokens, 1, columns].
struct KeyCache {
  at::Tensor cache{};  // undefined: no such keys
  Keys places;
  DecodeKeys decode{};
};

// Which keys around its own position a query sees; a negative number: all of that side.
struct Window {
  std::int64_t before = -1;
  std::int64_t after = -1;
};

struct SharedAttention {
  at::Tensor query{};    // fp32 [tokens, heads, width]
  at::Tensor sinks{};    // fp32 [heads] or undefined
  at::Tensor indices{};  // int32 [tokens, keys to see] among the compressed, or undefined: all
  double scale = 1;
  std::int64_t ratio = 1;
  Window window{};
  bool causal = true;  // compressed keys of later tokens are hidden
};

// fp32 [tokens, heads, width]; tokens of no sequence and queries that see no key get zeros.
[[nodiscard]] at::Tensor attended(const SharedAttention& on, const std::vector<Sequence>& queries,
                                  const CompressedSpans& spans, const KeyCache& own,
                                  const KeyCache& compressed);

}  // namespace npu_sim::ops
