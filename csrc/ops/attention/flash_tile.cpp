#include "ops/attention/flash_tile.h"

#include <ATen/CPUFunctions.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "ops/attention/float_rows.h"

namespace npu_sim::ops::flash {
namespace {

// Rows of scores that a tile takes, and scores: of 64 to 256 rows and 2^15 to 2^17 scores the
// fastest on one core of an EPYC Milan. Packed keys serve more rows of a higher tile; under a band
// that ends at a diagonal a lower one wastes less.
constexpr std::int64_t kTileRows = 256;
constexpr std::int64_t kBandRows = 128;
constexpr std::int64_t kTileScores = 1 << 17;

at::Tensor tensor_over(const float* data, std::int64_t rows, std::int64_t columns,
                       std::int64_t stride) {
  return at::from_blob(const_cast<float*>(data), {rows, columns}, {stride, 1}, at::kFloat);
}

at::Tensor tensor_over(const Factor& factor) {
  const at::Tensor whole =
      tensor_over(factor.rows.data, factor.count, factor.columns, factor.rows.stride);
  return factor.transposed ? whole.t() : whole;
}

void add_bias(const QueryTile& tile, const KeyTile& keys, float* scores, Buffer& scratch) {
  const Bias& bias = tile.problem.bias;
  if (!bias.rows) return;
  float* const space = sized(scratch, tile.count * keys.count);
  for (std::int64_t h = 0; h < tile.problem.heads; ++h) {
    const Rows added = bias.rows({h, tile.first, tile.count, keys.first, keys.count}, space);
    for (std::int64_t i = 0; i < tile.count; ++i) {
      float* const row = scores + (h * tile.count + i) * padded(keys.count);
      add(row, added.data + i * added.stride, bias.factor, keys.count);
    }
  }
}

// Hides what lies outside the band of query i.
void hide_beyond(const Problem& problem, std::int64_t query, const KeyTile& keys, float* row) {
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  const auto [first, last] = problem.mask.range(query, problem.keys);
  const auto place = [&keys](std::int64_t key) {
    return std::clamp<std::int64_t>(key - keys.first, 0, keys.count);
  };
  const std::int64_t prefix = place(problem.mask.prefix);
  const std::int64_t begin = place(first);
  const std::int64_t end = std::max(begin, place(last));
  if (prefix < begin) std::fill(row + prefix, row + begin, kHidden);
  std::fill(row + std::max(prefix, end), row + keys.count, kHidden);
}

void apply_mask(const QueryTile& tile, const KeyTile& keys, float* scores) {
  const Mask& mask = tile.problem.mask;
  for (std::int64_t h = 0; h < tile.problem.heads; ++h) {
    for (std::int64_t i = 0; i < tile.count; ++i) {
      float* const row = scores + (h * tile.count + i) * padded(keys.count);
      const std::int64_t query = tile.first + i;
      hide_beyond(tile.problem, query, keys, row);
      pad(row, keys.count);
      if (mask.hidden == nullptr) continue;
      hide(
          row,
          mask.hidden + h * mask.hidden_head_stride + query * mask.hidden_query_stride + keys.first,
          keys.count);
    }
  }
}

bool is_hidden(const QueryTile& tile, const KeyTile& keys) {
  const Mask& mask = tile.problem.mask;
  if (mask.hidden == nullptr) return false;
  for (std::int64_t h = 0; h < tile.problem.heads; ++h) {
    for (std::int64_t i = tile.first; i < tile.first + tile.count; ++i) {
      const std::uint8_t* const row =
          mask.hidden + h * mask.hidden_head_stride + i * mask.hidden_query_stride + keys.first;
      if (std::memchr(row, 0, static_cast<std::size_t>(keys.count)) != nullptr) return false;
    }
    if (mask.hidden_head_stride == 0) break;
  }
  return true;
}

}  // namespace

void multiply(const Matrix& out, const Factor& a, const Factor& b, float alpha, float beta) {
  at::Tensor result = tensor_over(out.data, out.rows, out.columns, out.stride);
  at::cpu::addmm_out(result, result, tensor_over(a), tensor_over(b), beta, alpha);
}

std::int64_t queries_per_tile(const Problem& problem) {
  const std::int64_t rows = problem.mask.after < problem.keys ? kBandRows : kTileRows;
  const std::int64_t most = std::max<std::int64_t>(1, problem.queries);
  return std::clamp<std::int64_t>(rows / problem.heads, 1, most);
}

std::vector<KeyTile> key_tiles(const QueryTile& tile) {
  const Mask& mask = tile.problem.mask;
  const std::int64_t keys = tile.problem.keys;
  const std::int64_t first = mask.range(tile.first, keys).first;
  const std::int64_t last = mask.range(tile.first + tile.count - 1, keys).last;
  const std::int64_t prefix = std::min(mask.prefix, keys);
  const std::int64_t step =
      std::clamp<std::int64_t>(kTileScores / tile.rows() / kLanes * kLanes, 64, kTileKeys);
  std::vector<KeyTile> tiles;
  const auto cover = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = begin; j < end; j += step) tiles.push_back({j, std::min(step, end - j)});
  };
  if (first >= last) {
    cover(0, prefix);
  } else if (prefix < first) {
    cover(0, prefix);
    cover(first, last);
  } else {
    cover(prefix > 0 ? 0 : first, std::max(prefix, last));
  }
  std::erase_if(tiles, [&tile](const KeyTile& keys) { return is_hidden(tile, keys); });
  return tiles;
}

void gather_queries(const QueryTile& tile, float* to) {
  const Problem& problem = tile.problem;
  const std::int64_t width = problem.width();
  for (std::int64_t h = 0; h < problem.heads; ++h) {
    for (std::int64_t i = 0; i < tile.count; ++i) {
      float* const first = to + (h * tile.count + i) * width;
      float* row = first;
      std::int64_t head_stride = problem.query_head_stride;
      for (const Strided& part : problem.query) {
        const Strided from = part.moved(h * head_stride + (tile.first + i) * part.stride);
        widen(from.data, from.dtype, from.width, row);
        row += from.width;
        head_stride = problem.rope_head_stride;
      }
      scale(first, problem.scale, width);
    }
  }
}

void score(const QueryTile& tile, const KeyTile& keys, const ScoreTile& on, Buffer& scratch) {
  const std::int64_t width = tile.problem.width();
  multiply({on.scores, tile.rows(), keys.count, padded(keys.count)},
           {{on.queries, width}, tile.rows(), width}, {on.keys, keys.count, width, true}, 1, 0);
  add_bias(tile, keys, on.scores, scratch);
  apply_mask(tile, keys, on.scores);
}

void drop(const QueryTile& tile, const KeyTile& keys, std::initializer_list<float*> all) {
  const Dropout& dropout = tile.problem.dropout;
  if (!dropout.keep) return;
  std::vector<std::uint8_t> keep(static_cast<std::size_t>(tile.count * keys.count));
  for (std::int64_t h = 0; h < tile.problem.heads; ++h) {
    dropout.keep({h, tile.first, tile.count, keys.first, keys.count}, keep.data());
    for (std::int64_t i = 0; i < tile.count; ++i) {
      const std::int64_t first = (h * tile.count + i) * padded(keys.count);
      const std::uint8_t* const kept = keep.data() + i * keys.count;
      for (float* const rows : all) {
        for (std::int64_t j = 0; j < keys.count; ++j) {
          rows[first + j] = kept[j] != 0 ? rows[first + j] / dropout.kept_share : 0;
        }
      }
    }
  }
}

}  // namespace npu_sim::ops::flash
