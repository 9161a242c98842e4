// Layouts of inference attention, and where the tokens of each sequence lie in them.
//
// "BSH", "BSND", "BNSD", "NSD", "TND" and "NTD" name the axes of queries, keys, values and the
// result; "BNSD_BSND" and the like name those of the operands, then those of the result. Code sees
// every tensor heads first, [batch, heads, tokens, width]; layouts with T have one batch there.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ops/attention/layout.h"
#include "ops/integers.h"

namespace npu_sim::ops {

struct InferLayout {
  Axes operands = Axes::kBsh;
  Axes result = Axes::kBsh;
};

// Raises ValueError, as by `op`, on a name that the card does not know.
[[nodiscard]] InferLayout infer_layout(const char* op, std::string_view name);

// Tokens of one sequence: [first, first + length) of batch `batch` of a tensor seen heads first.
struct TokenSpan {
  std::int64_t batch = 0;
  std::int64_t first = 0;
  std::int64_t length = 0;
  std::int64_t skipped = 0;  // of its tokens before `first`: padding on the left
};

// What the caller says about lengths.
struct Lengths {
  ArgumentName name;
  std::optional<Integers> values;  // running sums where all sequences lie along one axis
  std::optional<std::int64_t>
      padding;  // tokens behind the last one of each sequence; none: from the start
};

// Spans of the sequences in a tensor of `sizes` heads first. One length serves all sequences, more
// than sequences are cut off; without lengths sequences are full. Raises ValueError on lengths that
// do not fit. A sequence that padding would push over the start has no tokens.
[[nodiscard]] std::vector<TokenSpan> token_spans(const Lengths& lengths, Axes axes,
                                                 at::IntArrayRef sizes);

// One length for each of `batch` sequences, at most `longest`: one serves all, more than `batch`
// are cut off. Raises ValueError otherwise.
[[nodiscard]] Integers lengths_for(ArgumentName name, const Integers& lengths, std::int64_t batch,
                                   std::int64_t longest);

}  // namespace npu_sim::ops
