#include "runtime/memory/device_allocator.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/device_table.h"
#include "runtime/memory/address_space.h"
#include "runtime/memory/configuration.h"
#include "runtime/memory/peak_deferral.h"
#include "runtime/memory/statistics.h"

namespace npu_sim::runtime {
namespace {

using Action = MemoryTraceEntry::Action;

constexpr std::size_t kTableEntryBytes = sizeof(void*);  // of starts_

std::int64_t signed_size(std::size_t size) { return static_cast<std::int64_t>(size); }

std::size_t rounded_up(std::size_t size, std::size_t step) {
  return (size + step - 1) / step * step;
}

std::size_t segment_size(std::size_t size) {
  if (size <= kSmallBytes) return kSmallSegment;
  if (size < kMinOwnSegment) return kLargeSegment;
  return rounded_up(size, kSegmentRounding);
}

bool oversize(std::size_t size) {
  const std::int64_t limit = allocator_configuration().max_split_bytes;
  return limit >= 0 && signed_size(size) >= limit;
}

}  // namespace

DeviceAllocator::DeviceAllocator(int device, AddressSpace& addresses)
    : device_(device), addresses_(addresses), pools_(kStreamsPerDevice) {}

DeviceAllocator::~DeviceAllocator() { reset(); }

bool DeviceAllocator::empty() const {
  return stats_.allocation[static_cast<std::size_t>(PoolKind::kAll)].current == 0;
}

void DeviceAllocator::open(std::size_t memory_bytes) {
  const std::size_t bytes = memory_bytes / kSegmentRounding * kSegmentRounding;
  const std::size_t table = bytes / kBlockBytes * kTableEntryBytes;
  starts_ = static_cast<Block**>(map_lazily(table, "the block table of a device"));
  capacity_ = bytes;
  begin_ = addresses_.open(device_, bytes);
  free_ranges_.reset(bytes);
  stats_.max_split_size = allocator_configuration().max_split_bytes;
}

void DeviceAllocator::reset() {
  if (starts_) munmap(starts_, capacity_ / kBlockBytes * kTableEntryBytes);
  starts_ = nullptr;
  begin_ = nullptr;
  capacity_ = touched_free_ = 0;
  segment_count_ = 0;
  segments_.clear();
  for (auto& pools : pools_) pools.reset();
  for (auto& [id, mem_pool] : mem_pools_) mem_pool.pools.clear();
  std::erase_if(mem_pools_, [](const auto& entry) { return entry.second.retired; });
  block_store_.clear();
  spare_blocks_.clear();
  lent_to_.clear();
  lent_.clear();
  history_.clear();
  stats_ = {};
}

Block*& DeviceAllocator::block_at(const void* address) {
  return starts_[static_cast<std::size_t>(static_cast<const std::byte*>(address) - begin_) /
                 kBlockBytes];
}

Block* DeviceAllocator::new_block() {
  if (spare_blocks_.empty()) return &block_store_.emplace_back();
  Block* block = spare_blocks_.back();
  spare_blocks_.pop_back();
  *block = {};
  return block;
}

void DeviceAllocator::delete_block(Block* block) {
  block_at(block->address) = nullptr;
  spare_blocks_.push_back(block);
}

void* DeviceAllocator::allocate(std::int32_t stream, MemPoolId mem_pool, std::size_t bytes) {
  const std::int64_t memory = chip().memory_bytes;  // before the lock: it may lock the chip
  const std::lock_guard lock(mutex_);
  if (!begin_) open(static_cast<std::size_t>(memory));
  if (!lent_.empty()) collect_lent();
  if (bytes > capacity_) {
    ++stats_.num_ooms;
    throw base::OutOfMemoryError(out_of_memory_message(bytes));
  }
  const std::size_t size = rounded_up(std::max(bytes, kBlockBytes), kBlockBytes);
  const PoolKind kind = size <= kSmallBytes ? PoolKind::kSmall : PoolKind::kLarge;
  const Place place{stream, kind, mem_pool};
  Block* block = find_free(place, size);
  if (!block) block = add_segment(place, size);
  if (!block) block = make_room(place, size);
  hand_out(block, size, bytes);
  trace_memory();
  return block->address;
}

Block* DeviceAllocator::find_free(const Place& place, std::size_t size) {
  BlockPool& pool = pool_of(place);
  Block* block = pool.find(size);
  if (!block) return nullptr;
  // Blocks past the splitting limit serve only requests past it that nearly fill them.
  if (oversize(block->size) && (!oversize(size) || block->size >= size + kLargeSegment)) {
    return nullptr;
  }
  pool.erase(block);
  if (place.kind == PoolKind::kLarge && block->touched) touched_free_ -= block->size;
  return block;
}

Block* DeviceAllocator::add_segment(const Place& place, std::size_t size) {
  const PoolKind kind = place.kind;
  const std::size_t total = segment_size(size);
  collect_garbage(total);
  const auto& reserved = stats_.reserved_bytes[static_cast<std::size_t>(PoolKind::kAll)];
  if (static_cast<std::size_t>(reserved.current) + total > allowed_bytes()) return nullptr;
  const auto offset = free_ranges_.take(total);
  if (!offset) return nullptr;
  Block* block = new_block();
  block->address = begin_ + *offset;
  block->size = total;
  block->stream = place.stream;
  block->pool = kind;
  block->mem_pool = place.mem_pool;
  block_at(block->address) = block;
  if (kind == PoolKind::kLarge) prefer_huge_pages(block->address, total);
  segments_.emplace(block->address, block);
  ++segment_count_;
  change(stats_.segment, kind, 1);
  change(stats_.reserved_bytes, kind, signed_size(total));
  if (oversize(total)) change(stats_.oversize_segments, 1);
  ++stats_.num_device_alloc;
  note(Action::kSegmentAlloc, block->address, total, place.stream);
  return block;
}

// The card seems full: give cached segments back and try again.
Block* DeviceAllocator::make_room(const Place& place, std::size_t size) {
  ++stats_.num_alloc_retries;
  wait_for_lent();
  release_cached();
  if (Block* block = add_segment(place, size)) return block;
  if (Block* block = find_spare(place, size)) return block;
  ++stats_.num_ooms;
  note(Action::kOom, nullptr, size, place.stream);
  throw base::OutOfMemoryError(out_of_memory_message(segment_size(size)));
}

bool DeviceAllocator::worth_splitting(const Block& block, std::size_t size) const {
  const std::size_t rest = block.size - size;
  if (block.mem_pool != kDefaultPool && mem_pools_.at(block.mem_pool).options.no_split)
    return false;
  if (block.pool == PoolKind::kSmall) return rest >= kBlockBytes;
  return !oversize(size) && rest > kSmallBytes;
}

void DeviceAllocator::split(Block* block, std::size_t size) {
  Block* rest = new_block();
  rest->address = block->address + size;
  rest->size = block->size - size;
  rest->stream = block->stream;
  rest->pool = block->pool;
  rest->mem_pool = block->mem_pool;
  rest->touched = block->touched;
  rest->freed_at = block->freed_at;
  rest->previous = block;
  rest->next = block->next;
  if (rest->next) rest->next->previous = rest;
  block->next = rest;
  block->size = size;
  block_at(rest->address) = rest;
  pool_of(place_of(*rest)).insert(rest);
  if (rest->pool == PoolKind::kLarge && rest->touched) touched_free_ += rest->size;
}

void DeviceAllocator::hand_out(Block* block, std::size_t size, std::size_t requested) {
  const bool was_split = block->split();
  const std::int64_t whole = signed_size(block->size);
  const bool splits = worth_splitting(*block, size);
  if (splits) split(block, size);
  if (was_split) {
    change(stats_.inactive_split_bytes, block->pool, -signed_size(block->size));
    if (!splits) change(stats_.inactive_split, block->pool, -1);
  } else if (splits) {
    change(stats_.inactive_split_bytes, block->pool, whole - signed_size(size));
    change(stats_.inactive_split, block->pool, 1);
  }
  block->requested = requested;
  block->allocated = block->active = block->touched = true;
  const std::int64_t bytes = signed_size(block->size);
  const Peak peak = defers_peaks(device_) ? Peak::kLater : Peak::kNow;
  change(stats_.allocation, block->pool, 1, peak);
  change(stats_.allocated_bytes, block->pool, bytes, peak);
  change(stats_.active, block->pool, 1, peak);
  change(stats_.active_bytes, block->pool, bytes, peak);
  change(stats_.requested_bytes, block->pool, signed_size(requested), peak);
  if (oversize(block->size)) change(stats_.oversize_allocations, 1);
  note(Action::kAlloc, block->address, block->size, block->stream);
}

void DeviceAllocator::deallocate(void* pointer) {
  const std::lock_guard lock(mutex_);
  Block* block = begin_ ? block_at(pointer) : nullptr;
  if (!block || !block->allocated || block->address != pointer) {
    throw base::ValueError(
        "npu: expected a pointer that allocate() gave, got one inside or past a "
        "block; free each allocation once, by its first byte");
  }
  block->allocated = false;
  change(stats_.allocation, block->pool, -1);
  change(stats_.allocated_bytes, block->pool, -signed_size(block->size));
  if (oversize(block->size)) change(stats_.oversize_allocations, -1);
  note(Action::kFreeRequested, block->address, block->size, block->stream);
  if (block->lent) {
    lend(block);
  } else {
    give_back(block);
  }
  trace_memory();
}

// The block is free: joins it with free neighbours and offers it to its stream again.
void DeviceAllocator::give_back(Block* block) {
  note(Action::kFreeCompleted, block->address, block->size, block->stream);
  change(stats_.active, block->pool, -1);
  change(stats_.active_bytes, block->pool, -signed_size(block->size));
  change(stats_.requested_bytes, block->pool, -signed_size(block->requested));
  block->active = false;
  std::int64_t blocks = 0;
  std::int64_t bytes = 0;
  for (Block* neighbour : {block->previous, block->next}) {
    if (!neighbour || neighbour->active) continue;
    bytes -= signed_size(join(block, neighbour));
    --blocks;
  }
  if (block->split()) {
    ++blocks;
    bytes += signed_size(block->size);
  }
  if (blocks) change(stats_.inactive_split, block->pool, blocks);
  if (bytes) change(stats_.inactive_split_bytes, block->pool, bytes);
  block->freed_at = segment_count_;
  pool_of(place_of(*block)).insert(block);
  note_free_pages(block);
  if (block->mem_pool != kDefaultPool) release_if_retired(block);
}

// Makes a free neighbour part of `block`; the bytes it had.
std::size_t DeviceAllocator::join(Block* block, Block* neighbour) {
  const std::size_t size = neighbour->size;
  pool_of(place_of(*neighbour)).erase(neighbour);
  if (neighbour->pool == PoolKind::kLarge && neighbour->touched) touched_free_ -= size;
  block_at(block->address) = nullptr;
  if (neighbour == block->previous) {
    block->address = neighbour->address;
    block->previous = neighbour->previous;
    if (block->previous) block->previous->next = block;
    if (!block->previous) segments_[block->address] = block;
  } else {
    block->next = neighbour->next;
    if (block->next) block->next->previous = block;
  }
  delete_block(neighbour);
  block->size += size;
  block->touched |= neighbour->touched;
  block_at(block->address) = block;
  return size;
}

}  // namespace npu_sim::runtime
