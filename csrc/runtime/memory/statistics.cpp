#include "runtime/memory/statistics.h"

#include <algorithm>

namespace npu_sim::runtime {
namespace {

template <class Visit>
void for_each_stat(MemoryStats& stats, Visit visit) {
  for (PoolStats* pools : {&stats.allocation, &stats.segment, &stats.active, &stats.inactive_split,
                           &stats.allocated_bytes, &stats.reserved_bytes, &stats.active_bytes,
                           &stats.inactive_split_bytes, &stats.requested_bytes}) {
    for (Stat& stat : *pools) visit(stat);
  }
  visit(stats.oversize_allocations);
  visit(stats.oversize_segments);
}

}  // namespace

void change(Stat& stat, std::int64_t amount, Peak peak) {
  stat.current += amount;
  if (amount > 0) {
    stat.allocated += amount;
    if (peak == Peak::kNow) stat.peak = std::max(stat.peak, stat.current);
  } else {
    stat.freed -= amount;
  }
}

void change(PoolStats& stats, PoolKind pool, std::int64_t amount, Peak peak) {
  change(stats[static_cast<std::size_t>(PoolKind::kAll)], amount, peak);
  change(stats[static_cast<std::size_t>(pool)], amount, peak);
}

void raise_peaks(PoolStats& stats) {
  for (Stat& stat : stats) stat.peak = std::max(stat.peak, stat.current);
}

void reset_peaks(MemoryStats& stats) {
  for_each_stat(stats, [](Stat& stat) { stat.peak = stat.current; });
}

void reset_accumulated(MemoryStats& stats) {
  for_each_stat(stats, [](Stat& stat) { stat.allocated = stat.freed = 0; });
  stats.num_alloc_retries = 0;
  stats.num_ooms = 0;
  stats.num_sync_all_streams = 0;
  stats.num_device_alloc = 0;
  stats.num_device_free = 0;
}

}  // namespace npu_sim::runtime
