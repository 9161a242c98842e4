// The pools of a device, and when the segments of private ones come and go.
#include <algorithm>
#include <vector>

#include "runtime/memory/device_allocator.h"

namespace npu_sim::runtime {

BlockPool& DeviceAllocator::add_pool(const Place& place) {
  PoolsOfStreams* of_streams = &pools_;
  if (place.mem_pool != kDefaultPool) {
    of_streams = &mem_pools_[place.mem_pool].pools;
    of_streams->resize(kStreamsPerDevice);
  }
  auto& pools = (*of_streams)[static_cast<std::size_t>(place.stream)];
  if (!pools) pools = std::make_unique<Pools>();
  return pools->of(place.kind);
}

void DeviceAllocator::add_mem_pool(MemPoolId pool, const MemPoolOptions& options) {
  const std::lock_guard lock(mutex_);
  mem_pools_[pool].options = options;
}

void DeviceAllocator::retire_mem_pool(MemPoolId pool) {
  const std::lock_guard lock(mutex_);
  mem_pools_[pool].retired = true;
  std::vector<Block*> whole;
  bool used = false;
  for (const auto& [address, block] : segments_) {
    if (block->mem_pool != pool) continue;
    if (block->active || block->split()) {
      used = true;
    } else {
      whole.push_back(block);
    }
  }
  for (Block* block : whole) release_segment(block);
  if (!used) mem_pools_.erase(pool);
}

bool DeviceAllocator::opened() {
  const std::lock_guard lock(mutex_);
  return begin_ != nullptr;
}

// A free block of a pool that lends to others before an allocation fails; nullptr if there is none.
Block* DeviceAllocator::find_spare(const Place& place, std::size_t size) {
  for (const auto& [id, pool] : mem_pools_) {
    if (!pool.options.use_on_oom || pool.retired || id == place.mem_pool) continue;
    if (Block* block = find_free({place.stream, place.kind, id}, size)) return block;
  }
  return nullptr;
}

// `block`, of a private pool, has become free: gives its segment back if nobody can ask for it
// again.
void DeviceAllocator::release_if_retired(Block* block) {
  if (block->split()) return;
  const MemPoolId pool = block->mem_pool;
  if (!mem_pools_.at(pool).retired) return;
  release_segment(block);
  const bool used = std::ranges::any_of(
      segments_, [pool](const auto& segment) { return segment.second->mem_pool == pool; });
  if (!used) mem_pools_.erase(pool);
}

}  // namespace npu_sim::runtime
