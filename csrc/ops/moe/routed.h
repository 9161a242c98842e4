// Rows of tokens in the order of the experts that they chose.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace npu_sim::ops {

// The experts that a call serves, [first, last).
struct ExpertRange {
  std::int64_t first;
  std::int64_t last;
};

struct Routed {
  at::Tensor
      source;  // choice (k token + its number) behind each row, int64; -1 where there is none
  at::Tensor row_idx;  // [tokens k], int32
};

// Raises unless x is [tokens, hidden] and expert_idx int32 of [tokens, k].
void check_choices(const char* op, const at::Tensor& x, const at::Tensor& expert_idx);

// What `active_expert_range` says; all experts where it is empty.
[[nodiscard]] ExpertRange active_range(const char* op, at::IntArrayRef range,
                                       std::int64_t expert_num);

// The first `rows` choices sorted by expert, those of experts outside of `range` last and without a
// source. row_idx: the row of each choice (-1: none), or where it `scatters` the choice of each
// row.
[[nodiscard]] Routed dropless(const at::Tensor& experts, ExpertRange range, std::int64_t rows,
                              bool scatters);

// `capacity` rows an expert; later choices of a full expert are dropped.
[[nodiscard]] Routed padded(const at::Tensor& experts, std::int64_t expert_num,
                            std::int64_t capacity);

// Rows of `x` of [tokens, ...] behind the choices; zeros where there is none.
[[nodiscard]] at::Tensor expanded(const at::Tensor& x, const at::Tensor& source, std::int64_t k);

// What expert_tokens_num_type asks for.
enum class TokenCount : std::int64_t { kSums = 0, kCounts = 1, kPairs = 2 };

// Choices of each expert in `range`, int64: counts, running sums, or [expert_num, 2] pairs of
// expert and count, those with choices first and zeros after them.
[[nodiscard]] at::Tensor expert_tokens(const at::Tensor& experts, ExpertRange range,
                                       TokenCount type, std::int64_t expert_num);

}  // namespace npu_sim::ops
