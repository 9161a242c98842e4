#include "model/cost/gemm_demand.h"

#include <algorithm>

#include "model/core/cube.h"

namespace npu_sim::model {
namespace {

constexpr double kNsPerSecond = 1e9;

// The narrower operand is converted on the vector cores before the cube multiplies it.
bool converts(const GemmShape& shape, const ChipSpec& chip) {
  return cube_peak(shape.a, chip) != cube_peak(shape.b, chip);
}

void add_conversion(Demand& demand, const GemmShape& shape, const ChipSpec& chip) {
  const bool narrow_a = cube_peak(shape.a, chip) > cube_peak(shape.b, chip);
  const double elements = shape.batch * shape.k * (narrow_a ? shape.m : shape.n);
  constexpr double kConversionOps = 2;  // convert, and scale by the group's or channel's factor
  demand.vector_ops += vector_lane_ops(elements, kConversionOps, Format::kFp16, chip);
}

}  // namespace

void add_gemm(Demand& demand, const GemmShape& shape, const ChipSpec& chip) {
  const GemmPlan plan = plan_gemm(shape, chip);
  demand.cube_seconds += plan.pipes.cube;
  demand.mte1_seconds += plan.pipes.mte1;
  demand.mte2_seconds += plan.pipes.mte2;
  demand.fixpipe_seconds += plan.pipes.fixpipe;
  demand.head_seconds += plan.head_seconds;
  demand.tail_seconds += plan.tail_seconds;
  demand.sync_seconds += plan.sync_seconds;
  demand.l2_bytes += plan.fetched_bytes + plan.written_bytes + plan.workspace_bytes;
  demand.read_bytes = std::max(demand.read_bytes, plan.read_bytes);
  const bool mix = converts(shape, chip);
  if (mix) add_conversion(demand, shape, chip);
  demand.start_seconds +=
      (mix ? chip.cube_core.mix_start_ns : chip.cube_core.cube_start_ns) / kNsPerSecond;
  demand.provenance = Provenance::kCalibrated;
}

}  // namespace npu_sim::model
