#include "model/core/schedule.h"

#include <algorithm>
#include <cmath>

namespace npu_sim::model {
namespace {

// The grid that is nearest to a square, the longer side over n: 4 x 6 of 24 cores.
struct Grid {
  double rows = 1;
  double columns = 1;
};

Grid grid_of(std::int32_t cores) {
  std::int32_t rows = static_cast<std::int32_t>(std::sqrt(static_cast<double>(cores)));
  while (rows > 1 && cores % rows != 0) --rows;
  const std::int32_t columns = cores / std::max(1, rows);
  return {static_cast<double>(rows), static_cast<double>(columns)};
}

double grid_waves(double rows, double columns, Grid grid) {
  return std::ceil(rows / grid.rows) * std::ceil(columns / grid.columns);
}

}  // namespace

Waves waves_of(double rows, double columns, const ChipSpec& chip) {
  const double cores = chip.cube_cores;
  const double tiles = rows * columns;
  if (tiles <= cores) return {.whole = 1};
  if (chip.cube_core.splits_grid >= 1) {
    const Grid grid = grid_of(chip.cube_cores);
    return {.whole =
                std::min({grid_waves(rows, columns, grid), grid_waves(rows, columns, {cores, 1}),
                          grid_waves(rows, columns, {1, cores})})};
  }
  const double whole = std::floor(tiles / cores);
  const double rest = tiles - whole * cores;
  if (rest <= 0) return {.whole = whole};
  if (chip.cube_core.splits_tail < 1) return {.whole = whole + 1};
  return {.whole = whole, .part = 1 / std::max(1.0, std::floor(cores / rest))};
}

double bytes_read(double a, double b, const ChipSpec& chip) {
  const double kept = static_cast<double>(chip.l2_bytes) * chip.l2.retention;
  if (a + b <= kept || kept <= 0) return a + b;
  const double band = kept / 2;
  const double a_stays = a + b * std::ceil(a / band);
  const double b_stays = b + a * std::ceil(b / band);
  return std::min(a_stays, b_stays);
}

}  // namespace npu_sim::model
