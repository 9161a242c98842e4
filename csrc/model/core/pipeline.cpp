// GM -> L1 -> L0 -> cube -> L0C -> GM, overlapped: what one tile makes of a product.
#include <algorithm>
#include <cmath>

#include "model/core/cube.h"
#include "model/core/fixpipe.h"
#include "model/core/gemm.h"
#include "model/core/mte.h"
#include "model/core/schedule.h"
#include "model/cost/demand.h"

namespace npu_sim::model {
namespace {

constexpr double kBitsPerByte = 8;
constexpr double kPsPerSecond = 1e12;
constexpr double kNsPerSecond = 1e9;

// A tile split over idle cores: arithmetic divides, each side of its operands by the square root.
struct Shares {
  double arithmetic = 0;
  double fetch = 0;
};

Shares shares_of(const Waves& waves) {
  return {waves.total(), waves.whole + std::sqrt(waves.part)};
}

// A profiler counts the time a drain stands by for its last multiply commands as busy.
double stand_by_seconds(const GemmPlan& plan, double k, const GemmShape& shape,
                        const ChipSpec& chip) {
  const double commands = std::ceil(k / std::max(1.0, plan.tile.k));
  const double waited = std::min(chip.cube_core.unit_flag_mads, commands);
  return waited *
         cube_seconds(plan.tile.m, plan.tile.n, plan.tile.k, plan.tile.k, shape.cube, chip);
}

// Every group's weights are read once: its tiles follow one another.
void add_memory_of_groups(GemmPlan& plan, const GemmShape& shape, double tiles,
                          const ChipSpec& chip) {
  const double weights = number(shape.groups.groups()) * shape.n * shape.k;
  plan.read_bytes = stored_bytes(shape.m * shape.k, shape.a) + stored_bytes(weights, shape.b);
  plan.written_bytes = stored_bytes(shape.m * shape.n, shape.out);
  plan.fetched_bytes = tiles *
                       (stored_bytes(plan.tile.m * shape.k, shape.a) +
                        stored_bytes(plan.tile.n * shape.k, shape.b)) /
                       chip.cube_core.fetch_sharing;
}

void add_memory(GemmPlan& plan, const GemmShape& shape, double tiles_a_product, double k,
                const ChipSpec& chip) {
  if (shape.groups.groups() > 1) return add_memory_of_groups(plan, shape, tiles_a_product, chip);
  const double a = shape.a_share * stored_bytes(shape.m * shape.k, shape.a);
  const double b = stored_bytes(shape.n * shape.k, shape.b);
  const double times_b = shape.b_shared ? 1 : shape.batch;
  plan.read_bytes =
      shape.b_shared ? bytes_read(shape.batch * a, b, chip) : shape.batch * bytes_read(a, b, chip);
  plan.read_bytes = std::max(plan.read_bytes, shape.batch * a + times_b * b);
  plan.written_bytes = stored_bytes(shape.batch * shape.m * shape.n, shape.out);
  const double tile_bytes = shape.a_share * stored_bytes(plan.tile.m * k, shape.a) +
                            stored_bytes(plan.tile.n * k, shape.b);
  plan.fetched_bytes = shape.batch * tiles_a_product * tile_bytes / chip.cube_core.fetch_sharing;
}

// Partial sums of k splits go to L2 in fp32, all cores wait, and the vector cores add them up.
void add_split(GemmPlan& plan, const GemmShape& shape, const ChipSpec& chip) {
  if (plan.tile.k_split <= 1) return;
  const double results = shape.batch * shape.m * shape.n;
  constexpr double kSumBytes = 4;
  plan.workspace_bytes = 2 * plan.tile.k_split * results * kSumBytes;
  plan.sync_seconds =
      plan.workspace_bytes / 2 / chip.l2_bytes_per_s + chip.cube_core.group_sync_ns / kNsPerSecond;
}

}  // namespace

double PipeSeconds::slowest() const { return std::max({cube, mte1, mte2, fixpipe}); }

double GemmPlan::seconds(const ChipSpec& chip) const {
  const Demand traffic{.read_bytes = read_bytes, .written_bytes = written_bytes};
  const Residency residency = alone(traffic, chip);
  const double hibl = hibl_seconds(read_bytes, written_bytes - residency.absorbed_bytes, chip);
  const double l2 = (fetched_bytes + written_bytes + workspace_bytes) / chip.l2_bytes_per_s;
  return head_seconds + tail_seconds + sync_seconds + std::max({pipes.slowest(), hibl, l2});
}

double tile_rows(const GemmShape& shape, double side) {
  if (shape.groups.empty()) return std::ceil(shape.m / side);
  double tiles = 0;
  for (const Alike& alike : shape.groups.alike()) {
    tiles += number(alike.groups) * std::ceil(number(alike.rows) / side);
  }
  return tiles;
}

GemmPlan plan_tile(const GemmShape& shape, const Tile& tile, const ChipSpec& chip) {
  return plan_tile(shape, tile, tile_rows(shape, tile.m), chip);
}

GemmPlan plan_tile(const GemmShape& shape, const Tile& tile, double rows, const ChipSpec& chip) {
  GemmPlan plan;
  plan.tile = tile;
  const double columns = std::ceil(shape.n / tile.n);
  const double k = std::ceil(shape.k / tile.k_split);
  const Waves waves = waves_of(rows * shape.batch * tile.k_split, columns, chip);
  const Shares shares = shares_of(waves);
  plan.tiles = rows * columns * shape.batch * tile.k_split;
  plan.waves = waves.total();
  plan.balance = plan.tiles / chip.cube_cores / plan.waves;

  const Format out = tile.k_split > 1 ? Format::kFp32 : shape.out;
  const double drain = drain_seconds(tile.m * tile.n, out, chip);
  plan.pipes = {
      .cube = shares.arithmetic * cube_seconds(tile.m, tile.n, k, tile.k, shape.cube, chip),
      .mte1 = shares.fetch * mte1_seconds(shape, tile, k, chip),
      .mte2 = shares.fetch * mte2_seconds(shape, tile, k, chip),
      .fixpipe = shares.arithmetic * drain,
  };
  const double busy =
      plan.pipes.fixpipe + shares.arithmetic * stand_by_seconds(plan, k, shape, chip);
  plan.pipes.fixpipe = std::max(plan.pipes.fixpipe, std::min(busy, plan.pipes.cube));

  plan.head_seconds = chip.cube_core.first_fill_ns / kNsPerSecond +
                      mte2_seconds(shape, tile, std::min(k, tile.k), chip);
  plan.tail_seconds = drain;
  add_memory(plan, shape, rows * columns, shape.k, chip);
  add_split(plan, shape, chip);
  return plan;
}

}  // namespace npu_sim::model
