// Row-wise kernels: element operations, a tree over the lanes for each reduction, and one sweep
// over memory, or `passes` of them when a row does not fit a vector core's scratchpad.
#include <algorithm>
#include <cmath>

#include "model/cost/estimate.h"

namespace npu_sim::model {

Demand estimate(const RowWork& work, const ChipSpec& chip) {
  Demand demand;
  const double rows = number(work.rows);
  const double elements = rows * number(work.columns);
  const double linear = work.linear_ops > 0 ? work.linear_ops : 0;
  const double special = work.special_ops > 0 ? work.special_ops : 0;
  demand.flops = elements * (linear + special);
  demand.vector_ops = vector_lane_ops(elements, ops_of(work.linear_ops, work.special_ops, chip),
                                      work.compute, chip);
  // A reduction ends in log2(lanes) steps over a whole register (fewer when the row is shorter).
  const double lanes = vector_lanes(chip);
  const double width = std::min(lanes, number(work.columns));
  if (width > 1 && work.reductions > 0) {
    demand.vector_ops += rows * work.reductions * std::log2(width) * lanes;
  }
  const bool fits = stored_bytes(number(work.columns), work.compute) <= number(chip.ub_bytes);
  demand.read_bytes = number(work.read) * (fits ? 1.0 : std::max<double>(1, work.passes));
  demand.written_bytes = number(work.written);
  return demand;
}

}  // namespace npu_sim::model
