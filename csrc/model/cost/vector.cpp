// Element-wise kernels, and operators nobody has described (timed as if they were one).
#include "model/core/vector.h"

#include <algorithm>
#include <cmath>

#include "model/cost/estimate.h"

namespace npu_sim::model {

Demand estimate(const VectorWork& work, const ChipSpec& chip) {
  Demand demand;
  const double elements = number(work.elements);
  const Instructions instructions{.linear = number(work.linear_ops),
                                  .special = number(work.special_ops)};
  demand.flops =
      elements * (std::max(0.0, instructions.linear) + std::max(0.0, instructions.special));
  demand.read_bytes = number(work.read);
  demand.written_bytes = number(work.written);
  const double stored = stored_bytes(elements, work.compute);
  const double cores = cores_for(std::max(demand.read_bytes + demand.written_bytes, stored), chip);
  const double lanes = register_lanes(instructions, work.compute, chip);
  const double cycles = register_cycles(instructions, work.compute, chip);
  demand.vector_ops = elements / lanes * cycles * vector_lanes(chip);
  overlap(demand,
          {.cores = cores,
           .read_bytes = demand.read_bytes,
           .written_bytes = demand.written_bytes,
           .memory_read = demand.read_bytes,
           .vector_seconds = std::ceil(elements / cores / lanes) * cycles / chip.clock_hz},
          chip);
  return demand;
}

Demand estimate(const UndescribedWork& work, const ChipSpec& chip) {
  Demand demand = estimate(CopyWork{.read = work.read, .written = work.written}, chip);
  demand.provenance = Provenance::kUndescribed;
  return demand;
}

}  // namespace npu_sim::model
