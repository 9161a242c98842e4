// Arithmetic on allocator statistics.
#pragma once

#include <cstdint>

#include "runtime/memory/caching_allocator.h"

namespace npu_sim::runtime {

// Adds to a quantity (takes away when `amount` is negative) and keeps peak and totals.
void change(Stat& stat, std::int64_t amount);
// As change(), on the aggregate of all pools and on that of one.
void change(PoolStats& stats, PoolKind pool, std::int64_t amount);

void reset_peaks(MemoryStats& stats);
// Sets running totals and counters to zero; what is current stays.
void reset_accumulated(MemoryStats& stats);

}  // namespace npu_sim::runtime
