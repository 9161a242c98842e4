// The choice a tiling function makes: the tile that fits the buffers and ends first.
#include <algorithm>
#include <array>
#include <cmath>

#include "model/core/cube.h"
#include "model/core/gemm.h"
#include "model/cost/demand.h"

namespace npu_sim::model {
namespace {

// Tiles are of fixed sizes, whatever the shape: so a larger shape never has a better choice.
constexpr std::array<double, 9> kSides = {16, 32, 48, 64, 96, 128, 192, 256, 512};
constexpr std::array<double, 4> kSplits = {1, 2, 4, 8};
constexpr double kAccumulatorBytes = 4;
constexpr double kBuffers = 2;  // every buffer but the accumulator is halved, to fill one half
constexpr double kBitsPerByte = 8;

// Largest k of a command whose operands fit half of L0A, L0B and L1; 0: none does.
double command_k(double m, double n, const GemmShape& shape, const ChipSpec& chip) {
  const CubeCoreSpec& core = chip.cube_core;
  const double bytes = cube_bits(shape.cube, chip) / kBitsPerByte;
  const double grain = grain_of_k(shape.cube, chip);
  const double limit =
      std::min({static_cast<double>(core.l0a_bytes) / (kBuffers * m * bytes),
                static_cast<double>(core.l0b_bytes) / (kBuffers * n * bytes),
                static_cast<double>(chip.l1_bytes) / (kBuffers * (m + n) * bytes)});
  return std::floor(limit / grain) * grain;
}

bool fits_accumulator(double m, double n, const ChipSpec& chip) {
  return m * n * kAccumulatorBytes <= static_cast<double>(chip.cube_core.l0c_bytes);
}

// Whether result rows of `n` columns end inside a transaction that another tile writes too.
bool shares_lines(double n, const GemmShape& shape, const ChipSpec& chip) {
  return n < shape.n && stored_bytes(n, shape.out) < static_cast<double>(chip.transaction_bytes);
}

}  // namespace

GemmPlan plan_gemm(const GemmShape& shape, const ChipSpec& chip) {
  GemmPlan best;
  double best_seconds = -1;
  const auto consider = [&](const Tile& tile, double rows) {
    const GemmPlan plan = plan_tile(shape, tile, rows, chip);
    const double seconds = plan.seconds(chip);
    if (best_seconds >= 0 && seconds >= best_seconds) return;
    best = plan;
    best_seconds = seconds;
  };
  const double cores = chip.cube_cores;
  for (const double m : kSides) {
    const double rows = tile_rows(shape, m);
    for (const double n : kSides) {
      if (!fits_accumulator(m, n, chip)) continue;
      const double k = command_k(m, n, shape, chip);
      if (k <= 0) continue;
      const double tiles = rows * std::ceil(shape.n / n) * shape.batch;
      if (tiles >= cores && shares_lines(n, shape, chip)) continue;
      for (const double split : kSplits) {
        if (split > 1 && tiles * split > cores) break;
        consider({.m = m, .n = n, .k = k, .k_split = split}, rows);
      }
    }
  }
  return best;
}

}  // namespace npu_sim::model
