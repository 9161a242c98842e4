// Arithmetic on allocator statistics.
#pragma once

#include <cstdint>

#include "runtime/memory/caching_allocator.h"

namespace npu_sim::runtime {

// Whether an addition that exceeds the peak raises it now, or raise_peaks() does later.
enum class Peak : std::uint8_t { kNow, kLater };

// Adds to a quantity (takes away when `amount` is negative) and keeps peak and totals.
void change(Stat& stat, std::int64_t amount, Peak peak = Peak::kNow);
// As change(), on the aggregate of all pools and on that of one.
void change(PoolStats& stats, PoolKind pool, std::int64_t amount, Peak peak = Peak::kNow);
// Makes up for additions with Peak::kLater: no peak is below its current value.
void raise_peaks(PoolStats& stats);

void reset_peaks(MemoryStats& stats);
// Sets running totals and counters to zero; what is current stays.
void reset_accumulated(MemoryStats& stats);

}  // namespace npu_sim::runtime
