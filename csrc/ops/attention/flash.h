// softmax(scale query key^T) value in tiles: fp32 inside, memory that does not grow with the number
// of keys, threads over sequences, heads and tiles of queries.
//
// A problem is one sequence and one head of keys with the `heads` query heads that share it. Where
// keys and values lie is the caller's: a RowSource gives them tile by tile.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace npu_sim::ops::flash {

// fp32 rows, `stride` elements apart.
struct Rows {
  const float* data = nullptr;
  std::int64_t stride = 0;
};

// Rows [first, first + count): where they lie, or written to `scratch`, [count, width]. Called by
// several threads at once, each with a scratch of its own; count is at most kTileKeys.
using RowSource = std::function<Rows(std::int64_t first, std::int64_t count, float* scratch)>;

constexpr std::int64_t kTileKeys = 512;

// Rows of one head of a tensor: `width` elements that lie together, rows `stride` elements apart.
// float32, bfloat16 or float16.
struct Strided {
  const void* data = nullptr;
  c10::ScalarType dtype = c10::ScalarType::Float;
  std::int64_t width = 0;
  std::int64_t stride = 0;

  // The same with a row's first element moved by `elements`.
  [[nodiscard]] Strided moved(std::int64_t elements) const;
};

// Rows of a tensor; `parts` stand side by side in a row (key and key_rope, say).
[[nodiscard]] RowSource rows_of(std::vector<Strided> parts);

constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max() / 4;

// Query i sees the keys [i - before, i + after] and those below `prefix`, but none that `hidden`
// hides. The fields may be negative.
struct Mask {
  std::int64_t before = kUnlimited;
  std::int64_t after = kUnlimited;
  std::int64_t prefix = 0;
  const std::uint8_t* hidden = nullptr;  // [head, query, key]; not 0: hidden. Keys lie together.
  std::int64_t hidden_head_stride = 0;
  std::int64_t hidden_query_stride = 0;

  // Keys that query i sees apart from prefix and hidden ones: [first, last).
  struct Range {
    std::int64_t first = 0;
    std::int64_t last = 0;
  };
  [[nodiscard]] Range range(std::int64_t query, std::int64_t keys) const;
};

// `before` and `after` of a band of `pre` tokens before and `next` after the diagonal that starts
// in the first corner (left-up), or ends in the last one (right-down). Causal: next is 0.
[[nodiscard]] Mask left_up(std::int64_t pre, std::int64_t next);
[[nodiscard]] Mask right_down(std::int64_t pre, std::int64_t next, std::int64_t queries,
                              std::int64_t keys);

// A rectangle of the scores of one of the problem's query heads.
struct Area {
  std::int64_t head = 0;
  std::int64_t query = 0;
  std::int64_t queries = 0;
  std::int64_t key = 0;
  std::int64_t keys = 0;
};

// What is added to the scores of an area: factor * rows. A stride of 0 repeats a row. The scratch
// is [area.queries, area.keys].
struct Bias {
  std::function<Rows(const Area& area, float* scratch)> rows;  // empty: none
  float factor = 1;
};

// Which weights survive: writes 0 or 1 to `keep`, [area.queries, area.keys].
struct Dropout {
  std::function<void(const Area& area, std::uint8_t* keep)> keep;  // empty: none
  float kept_share = 1;                                            // what survives is divided by it
};

// What comes out. A row is query i of head h: at h * head_stride + i * row_stride elements.
struct Output {
  void* data = nullptr;
  c10::ScalarType dtype = c10::ScalarType::Float;
  std::int64_t head_stride = 0;
  std::int64_t row_stride = 0;
};

// Of each row, where the pointer is not null: the greatest score (-infinity where no key is seen),
// the sum of exp(score - greatest) (0 there), and greatest + log(sum). They count the sink.
struct Statistics {
  float* greatest = nullptr;
  float* sum = nullptr;
  float* lse = nullptr;
  std::int64_t head_stride = 0;
  std::int64_t row_stride = 0;
};

struct Problem {
  std::int64_t heads = 1;
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  std::vector<Strided> query;          // parts side by side; of head 0, [queries, width]
  std::int64_t query_head_stride = 0;  // of the first part
  std::int64_t rope_head_stride = 0;   // of the second part
  std::int64_t value_width = 0;
  RowSource key;
  RowSource value;
  float scale = 1;
  Mask mask;
  Bias bias;
  Dropout dropout;
  const float* sinks = nullptr;  // [heads]: a further score of each row, without a value
  Output out;
  Statistics statistics;

  [[nodiscard]] std::int64_t width() const;
};

// Computes all problems. Rows that see no key are 0.
void forward(std::span<const Problem> problems);

}  // namespace npu_sim::ops::flash
