// The caching allocator of one simulated card, over a reserved range of host address space as large
// as the card's memory. Addresses are real: host pages are committed only when bytes are touched.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/stream.h"

namespace npu_sim::runtime {

// Current, peak and running totals of one quantity.
struct Stat {
  std::int64_t current = 0;
  std::int64_t peak = 0;
  std::int64_t allocated = 0;
  std::int64_t freed = 0;
};

// torch's three aggregates, in torch's order.
enum class PoolKind : std::uint8_t { kAll, kSmall, kLarge };
using PoolStats = std::array<Stat, 3>;

struct MemoryStats {
  PoolStats allocation, segment, active, inactive_split;
  PoolStats allocated_bytes, reserved_bytes, active_bytes, inactive_split_bytes, requested_bytes;
  Stat oversize_allocations, oversize_segments;
  std::int64_t num_alloc_retries = 0;
  std::int64_t num_ooms = 0;
  std::int64_t num_sync_all_streams = 0;
  std::int64_t num_device_alloc = 0;
  std::int64_t num_device_free = 0;
  std::int64_t max_split_size = -1;
};

// Names a private pool (memory/mem_pool.h).
using MemPoolId = std::int32_t;
inline constexpr MemPoolId kDefaultPool = 0;

struct BlockSnapshot {
  std::uintptr_t address = 0;  // simulated
  std::int64_t size = 0;
  std::int64_t requested_size = 0;
  bool allocated = false;
  bool active = false;  // allocated, or freed and still used by another stream
};

struct SegmentSnapshot {
  int device = 0;
  std::uintptr_t address = 0;
  std::int64_t total_size = 0, allocated_size = 0, active_size = 0, requested_size = 0;
  StreamId stream{};
  bool is_large = false;
  MemPoolId mem_pool = kDefaultPool;
  std::vector<BlockSnapshot> blocks;
};

// One allocator event, as torch's memory_viz wants them.
struct MemoryTraceEntry {
  enum class Action : std::uint8_t {
    kAlloc,
    kFreeRequested,
    kFreeCompleted,
    kSegmentAlloc,
    kSegmentFree,
    kOom,
    kSnapshot
  };
  Action action{};
  std::uintptr_t address = 0;
  std::int64_t size = 0;
  StreamId stream{};
  std::int64_t time_us = 0;  // simulated host clock
};

// All functions are thread-safe. Pointers are host pointers inside the device's reserved range.
// 0 bytes give nullptr. Throws base::OutOfMemoryError with torch_npu's message when full.
[[nodiscard]] void* allocate(StreamId stream, std::size_t bytes);
// Frees what allocate() returned, whatever the device; nullptr is allowed.
void deallocate(void* pointer) noexcept;
// The block may be reused only after what `stream` has queued by the time it is freed.
void record_stream(void* pointer, StreamId stream);

// The device whose range holds `pointer`, or -1.
[[nodiscard]] int device_of(const void* pointer) noexcept;
// The simulated address (the same in every run) of a pointer in a device's range.
[[nodiscard]] std::uintptr_t simulated_address(const void* pointer);
// Bytes of the block `pointer` starts, 0 if it starts none.
[[nodiscard]] std::size_t allocated_size(const void* pointer) noexcept;

void empty_cache(int device);
[[nodiscard]] MemoryStats memory_stats(int device);
void reset_peak_memory_stats(int device);
void reset_accumulated_memory_stats(int device);
struct MemoryInfo {
  std::int64_t free = 0;
  std::int64_t total = 0;
};
[[nodiscard]] MemoryInfo memory_info(int device);
// fraction in [0, 1]; throws base::ValueError outside.
void set_memory_fraction(int device, double fraction);
[[nodiscard]] double memory_fraction(int device);

[[nodiscard]] std::vector<SegmentSnapshot> memory_snapshot(int device);
// Event history for memory_viz; `max_entries` 0 switches it off and clears it.
void record_memory_history(std::size_t max_entries);
[[nodiscard]] std::vector<MemoryTraceEntry> memory_history(int device);

}  // namespace npu_sim::runtime
