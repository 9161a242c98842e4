// Gather and scatter: every item moves whole memory transactions.
#include <algorithm>
#include <cmath>

#include "model/cost/estimate.h"

namespace npu_sim::model {

Demand estimate(const GatherWork& work, const ChipSpec& chip) {
  const double transaction = number(chip.transaction_bytes);
  const double items = number(work.items);
  const double useful = items * number(work.item);
  const double moved = items * std::ceil(number(work.item) / transaction) * transaction;
  Demand demand;
  demand.flops = work.accumulates ? useful / sizeof(float) : 0;
  // A table that fits L2 crosses HiBL at most once, and L2 answers the pieces.
  const double table = number(work.table);
  const bool cached = table > 0 && table <= number(chip.l2_bytes);
  const double random = cached ? std::min(moved, table) : moved;
  if (cached) demand.l2_bytes = moved;

  double read = number(work.read);
  double written = number(work.written);
  if (work.scatter) {
    written = std::max(0.0, written - useful) + random;
    if (work.accumulates) read += random;  // an atomic add reads what it changes
  } else {
    read = std::max(0.0, read - useful) + random;
  }
  demand.read_bytes = read + number(work.index);
  demand.written_bytes = written;
  return demand;
}

}  // namespace npu_sim::model
