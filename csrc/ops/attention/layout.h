// How the axes of query, key and value lie, and where sequences are in them. Code sees every tensor
// heads first, [batch, heads, tokens, width]; layouts with T have one batch there.
//
// Training attention has five layouts, by name: BSH, SBH, BSND, BNSD and TND.
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

enum class Axes : std::uint8_t { kBsh, kSbh, kBsnd, kBnsd, kNbsd, kNsd, kTnd, kNtd };

// The axes of one of the five layouts.
[[nodiscard]] Axes axes_named(std::string_view layout);

// Whether all sequences lie along one axis, T.
[[nodiscard]] constexpr bool is_flat(Axes axes) { return axes == Axes::kTnd || axes == Axes::kNtd; }

[[nodiscard]] std::int64_t rank_of(Axes axes);

// `tensor` seen as [batch, heads, tokens, width]. `heads` splits the last axis of BSH and SBH,
// which must divide by it.
[[nodiscard]] at::Tensor heads_first(const at::Tensor& tensor, Axes axes, std::int64_t heads);
[[nodiscard]] at::Tensor heads_first(const at::Tensor& tensor, std::string_view layout,
                                     std::int64_t heads);

// Sizes in `axes` of a tensor whose sizes heads first are `sizes`.
[[nodiscard]] std::vector<std::int64_t> sizes_in(Axes axes, at::IntArrayRef sizes);

// The inverse: a contiguous tensor in `layout` of x [batch, heads, tokens, width].
[[nodiscard]] at::Tensor in_layout(const at::Tensor& x, std::string_view layout);

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
