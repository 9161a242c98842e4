#include "runtime/memory/caching_allocator.h"

#include <cstdio>
#include <exception>
#include <optional>
#include <string>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/device_table.h"

namespace npu_sim::runtime {
namespace {

DeviceAllocator& allocator_of(int device) {
  check_device(device);
  return *device_table().allocators[static_cast<std::size_t>(device)];
}

// The allocator whose range holds the pointer. Throws base::ValueError for a host pointer.
DeviceAllocator& owner_of(const void* pointer, const char* caller) {
  const int device = device_of(pointer);
  if (device >= 0) return allocator_of(device);
  throw base::ValueError(std::string(caller) +
                         ": expected a pointer into npu memory, got a host pointer");
}

// The functions that serve the pool; nothing when the caching allocator does.
std::optional<ForeignFunctions> foreign_functions(MemPoolId pool) {
  DeviceTable& table = device_table();
  if (pool != kDefaultPool) {
    if (const auto functions = table.mem_pools.functions_of(pool)) return functions;
  }
  return table.foreign_memory.any() ? table.foreign_memory.for_all() : std::nullopt;
}

bool is_foreign(const void* pointer) {
  DeviceTable& table = device_table();
  return table.foreign_memory.any() && table.addresses.device_of(pointer) < 0 &&
         table.foreign_memory.device_of(pointer) >= 0;
}

}  // namespace

void* allocate(StreamId stream, std::size_t bytes) {
  check_stream(stream);
  if (bytes == 0) return nullptr;
  mark_used();
  DeviceTable& table = device_table();
  DeviceAllocator& allocator = *table.allocators[static_cast<std::size_t>(stream.device)];
  if (!table.mem_pools.any() && !table.foreign_memory.any()) {
    return allocator.allocate(stream.index, kDefaultPool, bytes);
  }
  const MemPoolId pool = current_mem_pool(stream.device);
  if (const auto functions = foreign_functions(pool)) {
    return table.foreign_memory.allocate(*functions, stream, bytes);
  }
  return allocator.allocate(stream.index, pool, bytes);
}

void deallocate(void* pointer) noexcept {
  if (!pointer) return;
  try {
    if (is_foreign(pointer)) {
      device_table().foreign_memory.deallocate(pointer);
      return;
    }
    owner_of(pointer, "deallocate").deallocate(pointer);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "torch_npu_sim: %s\n", error.what());
  }
}

void record_stream(void* pointer, StreamId stream) {
  check_stream(stream);
  // A foreign block goes back to its functions when it is freed: there is no cache to hold it back.
  if (pointer && !is_foreign(pointer))
    owner_of(pointer, "record_stream").record_stream(pointer, stream);
}

int device_of(const void* pointer) noexcept {
  DeviceTable& table = device_table();
  const int device = table.addresses.device_of(pointer);
  if (device >= 0 || !table.foreign_memory.any()) return device;
  return table.foreign_memory.device_of(pointer);
}

std::uintptr_t simulated_address(const void* pointer) {
  if (is_foreign(pointer)) return reinterpret_cast<std::uintptr_t>(pointer);
  if (device_of(pointer) < 0) {
    throw base::ValueError(
        "simulated_address: expected a pointer into npu memory, got a host "
        "pointer");
  }
  return device_table().addresses.simulated_address(pointer);
}

std::size_t allocated_size(const void* pointer) noexcept {
  if (is_foreign(pointer)) return device_table().foreign_memory.size_of(pointer);
  const int device = device_of(pointer);
  return device < 0 ? 0 : allocator_of(device).allocated_size(pointer);
}

void empty_cache(int device) { allocator_of(device).empty_cache(); }

MemoryStats memory_stats(int device) {
  check_device(device);
  if (uses_foreign_memory()) return device_table().foreign_memory.stats(device);
  return allocator_of(device).stats();
}

void reset_peak_memory_stats(int device) { allocator_of(device).reset_peak_stats(); }

void reset_accumulated_memory_stats(int device) { allocator_of(device).reset_accumulated_stats(); }

MemoryInfo memory_info(int device) { return allocator_of(device).info(); }

void set_memory_fraction(int device, double fraction) {
  allocator_of(device).set_fraction(fraction);
}

double memory_fraction(int device) { return allocator_of(device).fraction(); }

std::vector<SegmentSnapshot> memory_snapshot(int device) { return allocator_of(device).snapshot(); }

void record_memory_history(std::size_t max_entries) {
  for (const auto& allocator : device_table().allocators) allocator->set_history(max_entries);
}

std::vector<MemoryTraceEntry> memory_history(int device) { return allocator_of(device).history(); }

}  // namespace npu_sim::runtime
