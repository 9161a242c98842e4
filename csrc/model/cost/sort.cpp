// Sort and top-k: blocks sorted inside a vector register, then a tree of merges that keeps the
// first k of each; merge sweeps over memory when a row is larger than the scratchpad.
#include <algorithm>
#include <cmath>

#include "model/cost/estimate.h"

namespace npu_sim::model {
namespace {

// The kernel timed here sorts blocks of 32 with a network of log2(32) levels, each of which
// compares and then moves value and index.
constexpr double kBlock = 32;
constexpr double kBlockOps = 5 * 3;
// Sorted runs it merges at once.
constexpr double kMergeWays = 4;

// Times each element is emitted by a merge, on average: once a level until runs hold `kept`
// elements, and from there a quarter of the elements of the level before; a full sort at most.
double merges_of(double columns, double kept) {
  const auto levels = [](double run) {
    return run > kBlock ? std::log2(run / kBlock) / std::log2(kMergeWays) : 0;
  };
  const double selecting = levels(kept) + std::min(1.0, kept / kBlock) / (kMergeWays - 1);
  return std::min(levels(columns), selecting);
}

}  // namespace

Demand estimate(const SortWork& work, const ChipSpec& chip) {
  Demand demand;
  const double columns = number(work.columns);
  const double elements = number(work.rows) * columns;
  const double kept = std::clamp(number(work.k), 1.0, std::max(1.0, columns));
  const double merges = merges_of(columns, kept);
  demand.flops = elements * (std::log2(kBlock) + merges);
  const double ops_a_merge = vector_lanes(chip) / chip.sort_merge_per_cycle;
  demand.vector_ops =
      vector_lane_ops(elements, kBlockOps, work.format, chip) + elements * merges * ops_a_merge;

  const double runs = stored_bytes(columns, work.format) / number(chip.ub_bytes);
  const double sweeps =
      kept >= columns && runs > 1 ? std::ceil(std::log2(runs) / std::log2(kMergeWays)) : 0;
  const double input = stored_bytes(elements, work.format);
  demand.read_bytes = input * (1 + sweeps);
  demand.written_bytes = number(work.written) + input * sweeps;
  return demand;
}

}  // namespace npu_sim::model
