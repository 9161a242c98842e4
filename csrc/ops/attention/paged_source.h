// Tokens of keys and values where they lie: in a tensor, or in the pages of a cache that a block
// table names.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "ops/attention/infer_layout.h"
#include "ops/format/element_of.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {

// Tokens [first, first + length) of one head of one sequence.
struct TokenRange {
  std::int64_t sequence = 0;
  std::int64_t head = 0;
  std::int64_t first = 0;
  std::int64_t length = 0;
};

// Where the tokens of every sequence lie.
struct Placement {
  std::vector<TokenSpan> spans;
  at::Tensor pages;       // [sequences, pages], int64: where sequences are paged; else undefined
  std::int64_t page = 0;  // tokens of a page

  [[nodiscard]] bool paged() const { return pages.defined(); }
  [[nodiscard]] std::int64_t length(std::int64_t sequence) const {
    return spans[static_cast<std::size_t>(sequence)].length;
  }
};

struct CacheBlocks {
  std::int64_t count = 0;
  std::int64_t tokens = 0;  // of each
};

// A block table with the lengths of its sequences. Raises ValueError where a sequence is longer
// than its row of the table, and IndexError where a page that it uses is not one of the
// cache.
[[nodiscard]] Placement paged_placement(const char* op, const at::Tensor& block_table,
                                        const Integers& lengths, CacheBlocks cache);

// How a cache lies: [blocks, tokens, heads * width], [blocks, heads, tokens, width] or, in layout
// NZ, [blocks, heads, pieces of a row, tokens, piece].
[[nodiscard]] at::Tensor cache_heads_first(ArgumentName name, const at::Tensor& cache,
                                           std::int64_t heads);

// Elements of a row of a cache seen heads first.
[[nodiscard]] std::int64_t row_width(const at::Tensor& cache);

// Rows [length, width] of `tensor`: [batch, heads, tokens, width], or a cache seen heads first. A
// tensor with one head gives it to all heads.
[[nodiscard]] at::Tensor rows_of(const at::Tensor& tensor, const Placement& placement,
                                 const TokenRange& range);

}  // namespace npu_sim::ops
