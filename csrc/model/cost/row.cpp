// Row-wise kernels: whole rows a core, element instructions, cross-lane reductions, one sweep over
// memory and `passes` of them through L2 when a row does not fit a core's scratchpad. Few long
// rows are split over the cores, which then meet at a barrier.
#include <algorithm>
#include <cmath>

#include "model/core/vector.h"
#include "model/cost/estimate.h"

namespace npu_sim::model {
namespace {

constexpr double kPerNs = 1e-9;
constexpr double kBlockBytes = 32;      // rows start on such a block of the scratchpad
constexpr std::int64_t kOddGrain = 16;  // 16-bit elements of such a block
// Rows in the scratchpad are fp32, twice for double buffering.
constexpr double kBuffers = 2;
// A reduction is split over cores in parts of at least so many bytes.
constexpr double kLeastPart = 32768;

// How rows lie on the cores.
struct Rows {
  double split = 1;    // parts of a row, each on a core of its own
  double columns = 0;  // of a part
  double cores = 1;
  double waves = 0;   // parts of the busiest core
  double sweeps = 1;  // times a part is read
};

Rows rows_of(const RowWork& work, const ChipSpec& chip) {
  const double rows = number(work.rows);
  const double columns = number(work.columns);
  const double all = number(chip.vector_cores);
  Rows plan;
  if (rows > 0 && rows < all && work.passes <= 1 && work.reductions > 0) {
    plan.split = std::clamp(columns * sizeof(float) / kLeastPart, 1.0, all / rows);
  }
  plan.columns = columns / plan.split;
  plan.cores = std::clamp(rows * plan.split, 1.0, all);
  plan.waves = std::ceil(rows * plan.split / plan.cores - 1e-9);
  const bool fits = plan.columns * sizeof(float) * kBuffers <= number(chip.ub_bytes);
  plan.sweeps = fits ? 1 : std::max<double>(1, work.passes);
  return plan;
}

// Seconds of the vector unit for the parts of the busiest core.
double vector_seconds(const RowWork& work, const Rows& plan, double tiles, const ChipSpec& chip) {
  const Instructions instructions{.linear = number(work.linear_ops),
                                  .special = number(work.special_ops)};
  const double lanes = std::round(vector_lanes(chip));
  const double block = kBlockBytes / sizeof(float);
  const double padded = std::ceil(plan.columns / block) * block;
  // Short rows share a register.
  const double packed = std::max(1.0, std::floor(lanes / std::max(padded, block)));
  const double wide = std::max(1.0, base::bits(work.compute) / 32.0);
  const double cycles =
      std::ceil(plan.columns / lanes) * wide * register_cycles(instructions, work.compute, chip) +
      std::max(0.0, number(work.reductions)) * chip.vector_core.reduce_cycles +
      (work.columns % kOddGrain != 0 ? chip.vector_core.odd_row_cycles : 0);
  const double waiting = std::max(0.0, number(work.reductions)) *
                         chip.vector_core.reduce_latency_cycles * std::ceil(tiles);
  const double issued = std::ceil(plan.waves / packed) * cycles;
  return (plan.columns > 1 ? std::max(issued, plan.waves > 0 ? waiting : 0) : issued) /
         chip.clock_hz;
}

}  // namespace

Demand estimate(const RowWork& work, const ChipSpec& chip) {
  Demand demand;
  const double elements = number(work.rows) * number(work.columns);
  demand.flops = elements * std::max(0, work.linear_ops + work.special_ops);
  demand.read_bytes = number(work.read);
  demand.written_bytes = number(work.written);
  const Rows plan = rows_of(work, chip);
  const double parts = std::max(1.0, number(work.rows) * plan.split);
  // Parts in flight that L2 cannot hold come from memory again.
  const double in_flight = demand.read_bytes * plan.cores / parts;
  const bool kept = in_flight <= number(chip.l2_bytes) * chip.l2.retention;
  const double swept = demand.read_bytes * plan.sweeps;
  if (!kept) demand.read_bytes = swept;
  const double moved = (demand.read_bytes + demand.written_bytes) / plan.cores;
  const double tiles = std::max(1.0, moved / chip.vector_core.tile_bytes);
  const VectorPlan busiest{.cores = plan.cores,
                           .read_bytes = swept,
                           .written_bytes = demand.written_bytes,
                           .memory_read = demand.read_bytes,
                           .busiest_share = std::max(1.0, plan.waves * plan.cores / parts),
                           .vector_seconds = vector_seconds(work, plan, tiles, chip)};
  demand.vector_ops = busiest.vector_seconds / busiest.busiest_share * plan.cores *
                      vector_lanes(chip) * chip.clock_hz;
  demand.start_seconds += elements > 0 ? chip.vector_core.row_start_ns * kPerNs : 0;
  demand.sync_seconds += std::min(1.0, plan.split - 1) * chip.vector_core.barrier_ns * kPerNs;
  overlap(demand, busiest, chip);
  return demand;
}

}  // namespace npu_sim::model
