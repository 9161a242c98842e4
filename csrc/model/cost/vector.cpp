// Element-wise kernels, and operators nobody has described (timed as if they were one).
#include "model/cost/estimate.h"

namespace npu_sim::model {

Demand estimate(const VectorWork& work, const ChipSpec& chip) {
  Demand demand;
  const double elements = number(work.elements);
  const double linear = work.linear_ops > 0 ? work.linear_ops : 0;
  const double special = work.special_ops > 0 ? work.special_ops : 0;
  demand.flops = elements * (linear + special);
  demand.vector_ops = vector_lane_ops(elements, ops_of(work.linear_ops, work.special_ops, chip),
                                      work.compute, chip);
  demand.read_bytes = number(work.read);
  demand.written_bytes = number(work.written);
  return demand;
}

Demand estimate(const UndescribedWork& work, const ChipSpec&) {
  Demand demand;
  demand.read_bytes = number(work.read);
  demand.written_bytes = number(work.written);
  demand.provenance = Provenance::kUndescribed;
  return demand;
}

}  // namespace npu_sim::model
