#include "runtime/memory/mem_pool.h"

#include <array>
#include <string>
#include <utility>

#include "base/error.h"
#include "runtime/device_table.h"

namespace npu_sim::runtime {
namespace {

thread_local std::array<MemPoolId, kMaxDevices> thread_pools{};

// The last user is gone: no allocator hands out the pool's blocks any more.
void retire(MemPoolId pool) {
  for (const auto& allocator : device_table().allocators) allocator->retire_mem_pool(pool);
}

}  // namespace

MemPoolId MemPoolRegistry::create(const MemPoolOptions& options) {
  const std::lock_guard lock(mutex_);
  pools_[next_] = {options};
  any_.store(true, std::memory_order_release);
  return next_++;
}

void MemPoolRegistry::begin(MemPoolId pool) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  if (found == pools_.end()) {
    throw base::ValueError("use_mem_pool: expected the id of a living MemPool, got " +
                           std::to_string(pool) + "; keep a reference to the MemPool");
  }
  ++found->second.uses;
}

bool MemPoolRegistry::end(MemPoolId pool) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  if (found == pools_.end() || --found->second.uses > 0) return false;
  pools_.erase(found);
  return true;
}

int MemPoolRegistry::uses(MemPoolId pool) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  return found == pools_.end() ? 0 : found->second.uses;
}

std::optional<ForeignFunctions> MemPoolRegistry::functions_of(MemPoolId pool) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  return found == pools_.end() ? std::nullopt : found->second.options.functions;
}

MemPoolId create_mem_pool(const MemPoolOptions& options) {
  DeviceTable& table = device_table();
  const MemPoolId pool = table.mem_pools.create(options);
  for (const auto& allocator : table.allocators) allocator->add_mem_pool(pool, options);
  return pool;
}

void release_mem_pool(MemPoolId pool) {
  if (device_table().mem_pools.end(pool)) retire(pool);
}

MemPoolId begin_mem_pool(int device, MemPoolId pool) {
  check_device(device);
  device_table().mem_pools.begin(pool);
  return std::exchange(thread_pools[static_cast<std::size_t>(device)], pool);
}

void end_mem_pool(int device, MemPoolId pool, MemPoolId previous) {
  check_device(device);
  thread_pools[static_cast<std::size_t>(device)] = previous;
  release_mem_pool(pool);
}

MemPoolId current_mem_pool(int device) noexcept {
  return thread_pools[static_cast<std::size_t>(device)];
}

int mem_pool_uses(MemPoolId pool) { return device_table().mem_pools.uses(pool); }

}  // namespace npu_sim::runtime
