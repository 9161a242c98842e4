// Pieces that the passes of tiled attention share.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "ops/attention/flash.h"

namespace npu_sim::ops::flash {

// Queries [first, first + count) of all heads of a problem. Row h * count + i is query first + i of
// head h.
struct QueryTile {
  const Problem& problem;
  std::int64_t first = 0;
  std::int64_t count = 0;

  [[nodiscard]] std::int64_t rows() const { return problem.heads * count; }
};

struct KeyTile {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

// fp32 memory of a thread.
using Buffer = std::vector<float>;

// `buffer` with space for at least `count` elements.
inline float* sized(Buffer& buffer, std::int64_t count) {
  if (std::ssize(buffer) < count) buffer.resize(static_cast<std::size_t>(count));
  return buffer.data();
}

// A matrix in fp32.
struct Matrix {
  float* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;
};

// out = alpha a b + beta out; a transposed operand is read so where it lies.
struct Factor {
  Rows rows;
  std::int64_t count = 0;
  std::int64_t columns = 0;
  bool transposed = false;
};
void multiply(const Matrix& out, const Factor& a, const Factor& b, float alpha, float beta);

// How many queries of each head a tile takes.
[[nodiscard]] std::int64_t queries_per_tile(const Problem& problem);

// Keys that any query of `tile` may see, in tiles; tiles that all of them miss are left out.
[[nodiscard]] std::vector<KeyTile> key_tiles(const QueryTile& tile);

// The query rows of a tile times the scale, [rows, width].
void gather_queries(const QueryTile& tile, float* to);

// Scores of a tile before the softmax: scale q k^T, bias, -infinity where a key is not seen and in
// the padding. `scores` is [rows, padded(keys.count)].
struct ScoreTile {
  const float* queries = nullptr;  // [rows, width], as gather_queries gives them
  Rows keys;
  float* scores = nullptr;
};
void score(const QueryTile& tile, const KeyTile& keys, const ScoreTile& on, Buffer& scratch);

// Multiplies each of some [rows, padded(keys.count)] by keep / kept_share.
void drop(const QueryTile& tile, const KeyTile& keys, std::initializer_list<float*> all);

}  // namespace npu_sim::ops::flash
