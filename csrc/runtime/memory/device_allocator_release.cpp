// When freed memory may be used again, and when it goes back to the card and to the host.
#include <algorithm>
#include <chrono>

#include "runtime/device.h"
#include "runtime/device_table.h"
#include "runtime/memory/address_space.h"
#include "runtime/memory/configuration.h"
#include "runtime/memory/device_allocator.h"
#include "runtime/memory/statistics.h"

namespace npu_sim::runtime {
namespace {

// Host bytes that free large blocks may keep committed, a device. Pages that pile up would make the
// host pay for the simulated peak; with huge pages, touching dropped ones again costs no measurable
// time more than touching kept ones (see prefer_huge_pages).
constexpr std::size_t kMaxTouchedFree = std::size_t{512} << 20;

}  // namespace

void DeviceAllocator::record_stream(void* pointer, StreamId stream) {
  const std::lock_guard lock(mutex_);
  Block* block = begin_ ? block_at(pointer) : nullptr;
  if (!block || !block->allocated) return;
  if (stream.device == device_ && stream.index == block->stream) return;
  auto& streams = lent_to_[block];
  if (std::ranges::find(streams, stream) == streams.end()) streams.push_back(stream);
  block->lent = true;
}

// Freed while other streams may use it: notes the points that they must pass.
void DeviceAllocator::lend(Block* block) {
  DeviceTable& table = device_table();
  Lent lent{.block = block, .points = {}};
  {
    const std::lock_guard lock(table.timeline_mutex);
    const base::SimTime now = table.clock.now();
    for (const StreamId stream : lent_to_[block]) {
      lent.points.push_back(table.timeline.record(stream, now));
    }
  }
  lent_to_.erase(block);
  block->lent = false;
  lent_.push_back(std::move(lent));
}

// Frees the blocks whose streams have passed by the host's present time.
void DeviceAllocator::collect_lent() {
  DeviceTable& table = device_table();
  std::vector<Block*> free;
  {
    const std::lock_guard lock(table.timeline_mutex);
    const base::SimTime now = table.clock.now();
    table.timeline.advance_to(now);
    std::erase_if(lent_, [&](const Lent& lent) {
      const bool passed = std::ranges::all_of(lent.points, [&](const PointPtr& point) {
        return point->resolved && point->time <= now;
      });
      if (passed) free.push_back(lent.block);
      return passed;
    });
  }
  for (Block* block : free) give_back(block);
}

void DeviceAllocator::wait_for_lent() {
  ++stats_.num_sync_all_streams;
  if (lent_.empty()) return;
  DeviceTable& table = device_table();
  base::SimTime end{};
  {
    const std::lock_guard lock(table.timeline_mutex);
    for (const Lent& lent : lent_) {
      for (const PointPtr& point : lent.points) end = std::max(end, table.timeline.finish(point));
    }
  }
  table.clock.wait_until(end);
  collect_lent();
}

void DeviceAllocator::release_segment(Block* block) {
  pool_of(place_of(*block)).erase(block);
  if (block->pool == PoolKind::kLarge && block->touched) touched_free_ -= block->size;
  if (block->touched) drop_pages(block->address, block->size);
  free_ranges_.give(static_cast<std::size_t>(block->address - begin_), block->size);
  segments_.erase(block->address);
  change(stats_.segment, block->pool, -1);
  change(stats_.reserved_bytes, block->pool, -static_cast<std::int64_t>(block->size));
  const std::int64_t limit = allocator_configuration().max_split_bytes;
  if (limit >= 0 && static_cast<std::int64_t>(block->size) >= limit) {
    change(stats_.oversize_segments, -1);
  }
  ++stats_.num_device_free;
  note(MemoryTraceEntry::Action::kSegmentFree, block->address, block->size, block->stream);
  delete_block(block);
}

void DeviceAllocator::release_cached() {
  std::vector<Block*> whole;
  for (const auto& [address, block] : segments_) {
    if (block->mem_pool != kDefaultPool) continue;  // kept for its pool
    if (!block->active && !block->split()) whole.push_back(block);
  }
  for (Block* block : whole) release_segment(block);
}

void DeviceAllocator::empty_cache() {
  const std::lock_guard lock(mutex_);
  if (!begin_) return;
  wait_for_lent();
  release_cached();
  trace_memory();
}

// Past the threshold, releases whole free segments that are older than the average one.
void DeviceAllocator::collect_garbage(std::size_t needed) {
  const double threshold = allocator_configuration().garbage_collection_threshold;
  if (threshold <= 0) return;
  const auto limit = static_cast<std::int64_t>(threshold * static_cast<double>(allowed_bytes()));
  const auto& reserved = stats_.reserved_bytes[static_cast<std::size_t>(PoolKind::kAll)].current;
  const auto excess = [&] { return reserved + static_cast<std::int64_t>(needed) - limit; };
  if (excess() <= 0) return;
  std::vector<Block*> whole;
  std::int64_t ages = 0;
  for (const auto& [address, block] : segments_) {
    if (block->pool != PoolKind::kLarge || block->active || block->split()) continue;
    if (block->mem_pool != kDefaultPool) continue;
    whole.push_back(block);
    ages += segment_count_ - block->freed_at;
  }
  for (Block* block : whole) {
    const std::int64_t age = segment_count_ - block->freed_at;
    if (excess() > 0 && age * static_cast<std::int64_t>(whole.size()) >= ages) {
      release_segment(block);
    }
  }
}

// Counts what a freed large block may hold of the host, and drops all such pages past the limit.
void DeviceAllocator::note_free_pages(Block* block) {
  if (block->pool != PoolKind::kLarge || !block->touched) return;
  touched_free_ += block->size;
  if (touched_free_ <= kMaxTouchedFree) return;
  for (const auto& [address, first] : segments_) {
    for (Block* each = first; each; each = each->next) {
      if (each->active || each->pool != PoolKind::kLarge || !each->touched) continue;
      drop_pages(each->address, each->size);
      each->touched = false;
    }
  }
  touched_free_ = 0;
}

}  // namespace npu_sim::runtime
