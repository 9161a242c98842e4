// The vector cores: how long one computes, and how its loads, instructions and stores overlap.
#pragma once

#include "model/cost/demand.h"

namespace npu_sim::model {

// Instructions an element; what 16-bit operands are widened and narrowed with is added here.
struct Instructions {
  double linear = 0;
  double special = 0;
};

// Cycles of one register of `format`, two issues and one special unit deep:
// max(special / special_rate, (linear + special) / issue_per_cycle).
[[nodiscard]] double register_cycles(const Instructions& work, Format format, const ChipSpec& chip);

// Elements of `format` that one register computes at a time. 16-bit floats are computed in fp32,
// fp16 in full-rate instructions only apart.
[[nodiscard]] double register_lanes(const Instructions& work, Format format, const ChipSpec& chip);

// Cores that share `bytes`, none with less than the least a core gets; a fraction of one core's
// part is a fraction of a core, so that a little more work never takes less time.
[[nodiscard]] double cores_for(double bytes, const ChipSpec& chip);

// What a tiling gives the busiest of `cores` cores.
struct VectorPlan {
  double cores = 1;
  double read_bytes = 0;       // by all cores, re-reads through L2 included
  double written_bytes = 0;    // by all cores
  double memory_read = 0;      // of what is read: comes through HiBL
  double busiest_share = 1;    // bytes of the busiest core over those of an even share
  double vector_seconds = 0;   // of the busiest core
  double command_seconds = 0;  // issuing transfers
  double least_tiles = 1;      // at least 1
};

// Fills the pipes of `demand`, and what they cannot overlap: the first tile in, the last one out,
// and the stages of one tile that wait for one another.
void overlap(Demand& demand, const VectorPlan& plan, const ChipSpec& chip);

}  // namespace npu_sim::model
