#include "runtime/memory/foreign_memory.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "base/error.h"
#include "runtime/device_table.h"
#include "runtime/memory/statistics.h"

namespace npu_sim::runtime {
namespace {

void* handle_of(StreamId stream) {
  return reinterpret_cast<void*>(static_cast<std::intptr_t>(stream.index));
}

}  // namespace

void ForeignMemory::use_for_all(const ForeignFunctions& functions) {
  const std::lock_guard lock(mutex_);
  for_all_ = functions;
  any_.store(true, std::memory_order_release);
}

std::optional<ForeignFunctions> ForeignMemory::for_all() {
  const std::lock_guard lock(mutex_);
  return for_all_;
}

void* ForeignMemory::allocate(const ForeignFunctions& functions, StreamId stream,
                              std::size_t bytes) {
  void* const pointer =
      functions.allocate(static_cast<ssize_t>(bytes), stream.device, handle_of(stream));
  if (!pointer) {
    throw base::OutOfMemoryError(
        "npu: expected memory from the pluggable allocator, got null for " + std::to_string(bytes) +
        " bytes on npu:" + std::to_string(stream.device) + "; free tensors first");
  }
  const std::lock_guard lock(mutex_);
  const Block block{bytes, stream, functions};
  blocks_[reinterpret_cast<std::uintptr_t>(pointer)] = block;
  count(block, 1);
  any_.store(true, std::memory_order_release);
  return pointer;
}

bool ForeignMemory::deallocate(void* pointer) {
  Block block;
  {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(reinterpret_cast<std::uintptr_t>(pointer));
    if (found == blocks_.end()) return false;
    block = found->second;
    blocks_.erase(found);
    count(block, -1);
  }
  block.functions.free(pointer, static_cast<ssize_t>(block.size), block.stream.device,
                       handle_of(block.stream));
  return true;
}

ForeignMemory::Blocks::iterator ForeignMemory::holder_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  auto after = blocks_.upper_bound(address);
  if (after == blocks_.begin()) return blocks_.end();
  --after;
  return address - after->first < after->second.size ? after : blocks_.end();
}

int ForeignMemory::device_of(const void* pointer) {
  const std::lock_guard lock(mutex_);
  const auto holder = holder_of(pointer);
  return holder == blocks_.end() ? -1 : holder->second.stream.device;
}

std::size_t ForeignMemory::size_of(const void* pointer) {
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(reinterpret_cast<std::uintptr_t>(pointer));
  return found == blocks_.end() ? 0 : found->second.size;
}

void ForeignMemory::count(const Block& block, std::int64_t sign) {
  MemoryStats& stats = stats_[block.stream.device];
  const PoolKind kind = block.size <= kSmallBytes ? PoolKind::kSmall : PoolKind::kLarge;
  const std::int64_t bytes = sign * static_cast<std::int64_t>(block.size);
  for (PoolStats* counts : {&stats.allocation, &stats.active, &stats.segment}) {
    change(*counts, kind, sign);
  }
  for (PoolStats* sizes : {&stats.allocated_bytes, &stats.active_bytes, &stats.reserved_bytes,
                           &stats.requested_bytes}) {
    change(*sizes, kind, bytes);
  }
  ++(sign > 0 ? stats.num_device_alloc : stats.num_device_free);
}

MemoryStats ForeignMemory::stats(int device) {
  const std::lock_guard lock(mutex_);
  return stats_[device];
}

void use_foreign_memory(const ForeignFunctions& functions) {
  DeviceTable& table = device_table();
  const bool allocated = std::ranges::any_of(
      table.allocators, [](const auto& allocator) { return allocator->opened(); });
  if (allocated || table.foreign_memory.any()) {
    throw base::Error("Can't swap an already initialized allocator");
  }
  table.foreign_memory.use_for_all(functions);
}

bool uses_foreign_memory() { return device_table().foreign_memory.for_all().has_value(); }

}  // namespace npu_sim::runtime
