// Gather and scatter: every item moves whole memory transactions, by a transfer command or, where
// it is no larger than a few elements, lane by lane.
#include <algorithm>
#include <cmath>

#include "model/core/vector.h"
#include "model/cost/estimate.h"

namespace npu_sim::model {
namespace {

constexpr double kPerNs = 1e-9;
constexpr double kBlockBytes = 32;  // items under a scratchpad block are gathered by lanes

// Seconds the busiest core takes to ask for its items.
double command_seconds(const GatherWork& work, const ChipSpec& chip) {
  const VectorCoreSpec& core = chip.vector_core;
  const double busiest = std::ceil(number(work.items) / number(chip.vector_cores));
  if (work.one_by_one) return busiest * core.dependent_item_ns * kPerNs;
  const double by_command = busiest * core.descriptor_ns * kPerNs;
  if (number(work.item) >= kBlockBytes) return by_command;
  const double elements = busiest * std::max(1.0, number(work.item) / sizeof(float));
  return elements / vector_lanes(chip) * core.gather_cycles / chip.clock_hz;
}

// Bytes of whole transactions that the items move. Where threads fetch element by element, lines
// that stay in their data cache are fetched once, and neighbours that draw from few choices share.
double transaction_bytes(const GatherWork& work, const ChipSpec& chip) {
  const double transaction = number(chip.transaction_bytes);
  const double items = number(work.items);
  const double item = number(work.item);
  const double apart = items * std::ceil(item / transaction) * transaction;
  const double cache = chip.vector_core.data_cache_bytes;
  if (cache == 0 || item >= kBlockBytes || work.scatter || work.one_by_one) return apart;

  const double choices = number(work.choices);
  const double table = number(work.table);
  const double span = choices > 0 ? choices * number(work.run) * item : table;
  const double evicted = span > 0 ? 1 - std::min(1.0, cache / span) : 1;
  const double together = std::clamp(number(work.run), 1.0, transaction / std::max(item, 1.0));
  const double lines = choices > 0 ? choices * (1 - std::pow(1 - 1 / choices, together)) : together;
  return std::max(apart * evicted * lines / together, std::min(apart, table));
}

}  // namespace

Demand estimate(const GatherWork& work, const ChipSpec& chip) {
  const double items = number(work.items);
  const double useful = items * number(work.item);
  const double moved = transaction_bytes(work, chip);
  Demand demand;
  demand.flops = work.accumulates ? useful / sizeof(float) : 0;
  // A table that fits L2 crosses HiBL at most once, and L2 answers the pieces.
  const double table = number(work.table);
  const bool cached = table > 0 && table <= number(chip.l2_bytes);
  const double random = cached ? std::min(moved, table) : moved;

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
  const double seconds = command_seconds(work, chip);
  overlap(demand,
          {.cores = std::clamp(items, 1.0, number(chip.vector_cores)),
           .read_bytes = demand.read_bytes + (work.scatter ? 0 : moved - random),
           .written_bytes = demand.written_bytes,
           .memory_read = demand.read_bytes,
           .command_seconds = seconds},
          chip);
  if (cached && work.scatter) demand.l2_bytes += moved - random;
  if (items > 0) {
    demand.start_seconds += (chip.vector_core.gather_start_ns +
                             number(work.scalars) * chip.vector_core.scalar_read_ns) *
                            kPerNs;
  }
  return demand;
}

}  // namespace npu_sim::model
