#include "model/core/vector.h"

#include <algorithm>
#include <cmath>

namespace npu_sim::model {
namespace {

constexpr double kPerNs = 1e-9;
constexpr int kLaneBits = 32;
// Of the work that waits for a core with more than its share, the other cores' idle bandwidth
// serves half: fit of hicann/cann-bench@d59d44c adaptive_avg_pool_3d and group_norm.
constexpr double kIdleShare = 0.5;

bool widens(const Instructions& work, Format format) {
  if (base::bits(format) >= kLaneBits) return false;
  return format != Format::kFp16 || work.special > 0;
}

}  // namespace

double register_cycles(const Instructions& work, Format format, const ChipSpec& chip) {
  const double converts = widens(work, format) ? 2 : 0;
  const double linear = std::max(0.0, work.linear) + converts;
  const double special = std::max(0.0, work.special);
  return std::max(special / chip.special_rate,
                  (linear + special) / chip.vector_core.issue_per_cycle);
}

double register_lanes(const Instructions& work, Format format, const ChipSpec& chip) {
  const double lanes = std::round(vector_lanes(chip));
  if (base::bits(format) > kLaneBits) return lanes * kLaneBits / base::bits(format);
  if (base::bits(format) == kLaneBits || widens(work, format)) return lanes;
  return lanes * std::round(chip.vector_fp16_op_per_s / chip.vector_fp32_op_per_s);
}

double cores_for(double bytes, const ChipSpec& chip) {
  return std::clamp(bytes / chip.vector_core.least_bytes, 1.0, number(chip.vector_cores));
}

void overlap(Demand& demand, const VectorPlan& plan, const ChipSpec& chip) {
  const VectorCoreSpec& core = chip.vector_core;
  const double share = plan.busiest_share / plan.cores;
  const bool shared = plan.cores > number(chip.vector_cores) / 2;
  const double rate = shared ? core.shared_read_bytes_per_s : core.read_bytes_per_s;
  demand.vector_seconds = plan.vector_seconds;
  demand.mte2_seconds = std::max(plan.read_bytes * share / rate, plan.command_seconds);
  demand.mte3_seconds = plan.written_bytes * share / core.write_bytes_per_s;
  demand.l2_bytes = plan.read_bytes + plan.written_bytes;

  const double memory = hibl_seconds(plan.memory_read, 0, chip);
  const double uneven = memory * (1 + kIdleShare * std::max(0.0, plan.busiest_share - 1));
  const double loads = std::max(demand.mte2_seconds, uneven);
  const double stages = loads + demand.vector_seconds + demand.mte3_seconds;
  const double longest = std::max({loads, demand.vector_seconds, demand.mte3_seconds});
  const double tiles =
      std::max(plan.least_tiles, (plan.read_bytes + plan.written_bytes) * share / core.tile_bytes);
  if (stages > 0)
    demand.head_seconds += core.fill_ns * kPerNs * plan.cores / number(chip.vector_cores);
  // One tile's other stages, and the memory that cores with less to do leave idle.
  const double evenly =
      std::max({demand.mte2_seconds, memory, demand.vector_seconds, demand.mte3_seconds});
  demand.tail_seconds += (stages - longest) / tiles + (longest - evenly);
}

}  // namespace npu_sim::model
