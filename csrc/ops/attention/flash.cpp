#include "ops/attention/flash.h"

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/attention/flash_tile.h"
#include "ops/attention/float_rows.h"

namespace npu_sim::ops::flash {
namespace {

constexpr float kNoScore = -std::numeric_limits<float>::infinity();

// Memory of a thread, kept from tile to tile.
struct Workspace {
  Buffer queries;
  Buffer keys;
  Buffer values;
  Buffer scores;
  Buffer bias;
  Buffer out;       // [rows, value width], not yet divided by the sums
  Buffer greatest;  // [rows]
  Buffer sums;      // [rows]
};

void start(const QueryTile& tile, Workspace& work) {
  const Problem& problem = tile.problem;
  gather_queries(tile, sized(work.queries, tile.rows() * problem.width()));
  work.out.assign(static_cast<std::size_t>(tile.rows() * problem.value_width), 0);
  work.greatest.assign(static_cast<std::size_t>(tile.rows()), kNoScore);
  work.sums.assign(static_cast<std::size_t>(tile.rows()), 0);
  if (problem.sinks == nullptr) return;
  for (std::int64_t r = 0; r < tile.rows(); ++r) {
    work.greatest[static_cast<std::size_t>(r)] = problem.sinks[r / tile.count];
    work.sums[static_cast<std::size_t>(r)] = 1;
  }
}

// Scores of one row become weights; what was summed so far is brought to the new greatest score.
void weigh_row(float* row, std::int64_t keys, std::size_t r, Workspace& work, float* out,
               std::int64_t value_width) {
  const float before = work.greatest[r];
  const float greatest_now = std::max(before, greatest(row, keys));
  // A row of -infinity and NaN: weights 0 and NaN.
  const float sum = raise(row, greatest_now == kNoScore ? 0 : greatest_now, keys);
  if (greatest_now != before) {
    const float shrink = std::exp(before - greatest_now);
    work.sums[r] *= shrink;
    scale(out, shrink, value_width);
    work.greatest[r] = greatest_now;
  }
  work.sums[r] += sum;
}

void attend(const QueryTile& tile, const KeyTile& keys, Workspace& work) {
  const Problem& problem = tile.problem;
  const Rows key =
      problem.key(keys.first, keys.count, sized(work.keys, keys.count * problem.width()));
  float* const scores = sized(work.scores, tile.rows() * padded(keys.count));
  score(tile, keys, {work.queries.data(), key, scores}, work.bias);
  const std::int64_t width = problem.value_width;
  for (std::int64_t r = 0; r < tile.rows(); ++r) {
    weigh_row(scores + r * padded(keys.count), keys.count, static_cast<std::size_t>(r), work,
              work.out.data() + r * width, width);
  }
  drop(tile, keys, {scores});
  const Rows value = problem.value(keys.first, keys.count, sized(work.values, keys.count * width));
  multiply({work.out.data(), tile.rows(), width, width},
           {{scores, padded(keys.count)}, tile.rows(), keys.count}, {value, keys.count, width}, 1,
           1);
}

void finish(const QueryTile& tile, Workspace& work) {
  const Output& out = tile.problem.out;
  const Statistics& statistics = tile.problem.statistics;
  const std::int64_t width = tile.problem.value_width;
  const auto element_bytes = static_cast<std::int64_t>(c10::elementSize(out.dtype));
  for (std::int64_t r = 0; r < tile.rows(); ++r) {
    const std::int64_t head = r / tile.count;
    const std::int64_t query = tile.first + r % tile.count;
    const float sum = work.sums[static_cast<std::size_t>(r)];
    const float greatest = work.greatest[static_cast<std::size_t>(r)];
    auto* const to = static_cast<std::byte*>(out.data) +
                     (head * out.head_stride + query * out.row_stride) * element_bytes;
    float* const row = work.out.data() + r * width;
    if (sum == 0) std::fill_n(row, width, 0.0F);  // 0 even where a value is infinite
    narrow(row, sum == 0 ? 0 : 1 / sum, width, out.dtype, to);
    const std::int64_t place = head * statistics.head_stride + query * statistics.row_stride;
    if (statistics.greatest != nullptr) statistics.greatest[place] = greatest;
    if (statistics.sum != nullptr) statistics.sum[place] = sum;
    if (statistics.lse != nullptr) statistics.lse[place] = greatest + std::log(sum);
  }
}

struct Place {
  std::size_t problem = 0;
  std::int64_t first = 0;
};

std::vector<Place> places_of(std::span<const Problem> problems) {
  std::vector<Place> places;
  for (std::size_t p = 0; p < problems.size(); ++p) {
    const std::int64_t step = queries_per_tile(problems[p]);
    for (std::int64_t i = 0; i < problems[p].queries; i += step) places.push_back({p, i});
  }
  return places;
}

}  // namespace

Strided Strided::moved(std::int64_t elements) const {
  Strided result = *this;
  result.data = static_cast<const std::byte*>(data) +
                elements * static_cast<std::int64_t>(c10::elementSize(dtype));
  return result;
}

RowSource rows_of(std::vector<Strided> parts) {
  if (parts.size() == 1 && parts[0].dtype == c10::ScalarType::Float) {
    return [part = parts[0]](std::int64_t first, std::int64_t, float*) {
      return Rows{static_cast<const float*>(part.data) + first * part.stride, part.stride};
    };
  }
  return [parts = std::move(parts)](std::int64_t first, std::int64_t count, float* scratch) {
    float* to = scratch;
    for (std::int64_t i = first; i < first + count; ++i) {
      for (const Strided& part : parts) {
        widen(part.moved(i * part.stride).data, part.dtype, part.width, to);
        to += part.width;
      }
    }
    return Rows{scratch, (to - scratch) / std::max<std::int64_t>(1, count)};
  };
}

Mask::Range Mask::range(std::int64_t query, std::int64_t keys) const {
  const std::int64_t first = std::clamp<std::int64_t>(query - before, 0, keys);
  return {first, std::max(first, std::clamp<std::int64_t>(query + after + 1, 0, keys))};
}

Mask left_up(std::int64_t pre, std::int64_t next) {
  return {.before = std::clamp(pre, -kUnlimited, kUnlimited),
          .after = std::clamp(next, -kUnlimited, kUnlimited)};
}

Mask right_down(std::int64_t pre, std::int64_t next, std::int64_t queries, std::int64_t keys) {
  const std::int64_t shift = keys - queries;
  Mask mask = left_up(pre, next);
  mask.before -= shift;
  mask.after += shift;
  return mask;
}

std::int64_t Problem::width() const {
  std::int64_t sum = 0;
  for (const Strided& part : query) sum += part.width;
  return sum;
}

void forward(std::span<const Problem> problems) {
  const std::vector<Place> places = places_of(problems);
  at::parallel_for(0, std::ssize(places), 1, [&](std::int64_t begin, std::int64_t end) {
    const at::AutoDispatchBelowAutograd below;
    Workspace work;
    for (std::int64_t p = begin; p < end; ++p) {
      const auto [index, first] = places[static_cast<std::size_t>(p)];
      const Problem& problem = problems[index];
      const QueryTile tile{problem, first,
                           std::min(queries_per_tile(problem), problem.queries - first)};
      start(tile, work);
      for (const KeyTile& keys : key_tiles(tile)) attend(tile, keys, work);
      finish(tile, work);
    }
  });
}

}  // namespace npu_sim::ops::flash
