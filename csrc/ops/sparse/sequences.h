// Where the tokens of each sequence lie: layouts BSND, TND and PA_BSND with actual lengths.
//
// Lengths are one number a sequence; in TND they are running sums. The axes of a paged tensor
// (PA_BSND) are blocks and the tokens in a block; block_table[sequence] names a sequence's blocks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "aten/describe/call.h"
#include "ops/format/element_of.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {

// Tokens of one sequence: rows [first, first + length) of a tensor whose batch and sequence axes
// are one.
struct Sequence {
  std::int64_t first = 0;
  std::int64_t length = 0;
};

// Sequences of `query`, [B, S, ...] in layout BSND or [T, ...] in TND. Without lengths BSND
// sequences are full; TND needs them. Raises ValueError, as by `lengths_name`, on lengths that do
// not fit.
[[nodiscard]] std::vector<Sequence> query_sequences(ArgumentName lengths_name,
                                                    const at::Tensor& query,
                                                    std::string_view layout,
                                                    const std::optional<Integers>& lengths);

// The key side: each position of a sequence has a place in a tensor [outer, inner, heads, width].
class Keys {
 public:
  struct Layout {
    const char* op = nullptr;
    std::string_view name;  // BSND, TND, PA_BSND
    const char* lengths = "actual_seq_lengths_key";
  };

  // `key` as the operator got it. Raises ValueError or IndexError where lengths or block table do
  // not fit `key`.
  Keys(const Layout& layout, const at::Tensor& key, const std::optional<Integers>& lengths,
       const MaybeTensor& block_table, std::int64_t batch);

  [[nodiscard]] std::int64_t length(std::int64_t sequence) const {
    return lengths_[static_cast<std::size_t>(sequence)];
  }

  // Rows of `tensor` (laid out as `key`) at `positions` of a sequence, for one head:
  // [positions, width]. The positions must be below length(sequence).
  [[nodiscard]] at::Tensor rows(const at::Tensor& tensor, std::int64_t sequence,
                                const Integers& positions, std::int64_t head) const;

  // The same of all positions.
  [[nodiscard]] at::Tensor all_rows(const at::Tensor& tensor, std::int64_t sequence,
                                    std::int64_t head) const;

  // Places of `positions` in a tensor whose two leading axes are one.
  [[nodiscard]] at::Tensor flat_places(std::int64_t sequence, const Integers& positions) const;

 private:
  [[nodiscard]] std::int64_t place(std::int64_t sequence, std::int64_t position) const;
  void read_table(const Layout& layout, const at::Tensor& table, std::int64_t blocks);

  std::int64_t inner_ = 1;  // tokens along the second axis
  bool paged_ = false;
  Integers starts_;  // flat place of position 0 of each sequence, unless paged
  Integers lengths_;
  std::vector<Integers> tables_;  // blocks of each sequence, where paged
};

// Positions that query `index` of a sequence may see: all of them in sparse_mode 0, and in
// sparse_mode 3 those up to its own place from the end.
[[nodiscard]] std::int64_t visible(std::int64_t sparse_mode, std::int64_t keys,
                                   std::int64_t queries, std::int64_t index);

// Raises ValueError unless sparse_mode is 0 or 3 and the tokens before and after are unlimited, as
// the card's kernels demand.
struct Masking {
  std::int64_t sparse_mode = 3;
  std::int64_t pre_tokens = 0;
  std::int64_t next_tokens = 0;
};
void check_masking(const char* op, const Masking& masking);

// Raises ValueError unless the pair of layouts is one of the card's: equal, or PA_BSND keys.
void check_layouts(const char* op, std::string_view query, std::string_view key);

// --- for describers: lengths of a finished call
struct Spans {
  Integers queries;  // tokens of each sequence
  Integers keys;
};

// Which arguments of a call tell its lengths; `lengths` may be lists or tensors.
struct SpanArguments {
  std::size_t query = 0;
  std::size_t key = 1;
  std::size_t query_lengths = 0;
  std::size_t key_lengths = 0;
  std::size_t query_layout = 0;
  std::size_t key_layout = 0;
  std::size_t block_table = 0;
};

// Lengths of every sequence; even sizes where their values are unknown.
[[nodiscard]] Spans spans_of(const aten::Call& call, const SpanArguments& where);

// Text of a string argument, `fallback` where there is none.
[[nodiscard]] std::string_view text_at(const aten::Call& call, std::size_t index,
                                       std::string_view fallback);

}  // namespace npu_sim::ops
