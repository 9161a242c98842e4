// The layouts in which training attention takes query, key and value: BSH, SBH, BSND, BNSD and TND.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ops/integers.h"

namespace npu_sim::ops {

// `layout` in capitals. Raises ValueError, as by `op`, unless it is one of the five.
[[nodiscard]] std::string checked_layout(const char* op, std::string_view layout);

// Axes of a tensor in `layout`.
[[nodiscard]] inline std::int64_t axes_of(std::string_view layout) {
  return layout == "BSND" || layout == "BNSD" ? 4 : 3;
}

// `tensor` seen as [batch, heads, tokens, width]; TND is one batch. `heads` splits the last axis of
// BSH and SBH.
[[nodiscard]] at::Tensor heads_first(const at::Tensor& tensor, std::string_view layout,
                                     std::int64_t heads);

// The inverse: a contiguous tensor in `layout` of x [batch, heads, tokens, width].
[[nodiscard]] at::Tensor in_layout(const at::Tensor& x, std::string_view layout);

// Sizes in `layout` of [batch, heads, tokens, width].
[[nodiscard]] std::vector<std::int64_t> sizes_in_layout(at::IntArrayRef heads_first,
                                                        std::string_view layout);

// One sequence: which tokens of the views above are its queries and its keys.
struct SequencePair {
  std::int64_t batch = 0;
  std::int64_t query_first = 0;
  std::int64_t queries = 0;
  std::int64_t key_first = 0;
  std::int64_t keys = 0;
};

// Lengths of layout TND from running sums; zeros at the end stand for sequences that are left out.
[[nodiscard]] Integers lengths_from_sums(Integers sums);

// Sequences of a batch of equal lengths.
[[nodiscard]] std::vector<SequencePair> even_sequences(std::int64_t batch, std::int64_t queries,
                                                       std::int64_t keys);

// Sequences that lie one after another.
[[nodiscard]] std::vector<SequencePair> packed_sequences(const Integers& queries,
                                                         const Integers& keys);

}  // namespace npu_sim::ops
