// What a device's allocator tells: statistics, snapshots, history, and the out-of-memory text.
#include <array>
#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/device_table.h"
#include "runtime/memory/address_space.h"
#include "runtime/memory/device_allocator.h"
#include "runtime/memory/statistics.h"

namespace npu_sim::runtime {
namespace {

constexpr std::size_t kAll = static_cast<std::size_t>(PoolKind::kAll);

// As torch prints sizes: two decimals in the largest unit that is reached.
std::string format_size(std::int64_t bytes) {
  constexpr std::array<const char*, 3> kUnits = {"KiB", "MiB", "GiB"};
  if (bytes <= 1024) return std::to_string(bytes) + " bytes";
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && value > 1024) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.2f %s", value, kUnits[unit]);
  return text.data();
}

SegmentSnapshot snapshot_of(int device, const Block* first, const AddressSpace& addresses) {
  SegmentSnapshot segment;
  segment.device = device;
  segment.address = addresses.simulated_address(first->address);
  segment.stream = {device, first->stream};
  segment.is_large = first->pool == PoolKind::kLarge;
  segment.mem_pool = first->mem_pool;
  for (const Block* block = first; block; block = block->next) {
    const auto size = static_cast<std::int64_t>(block->size);
    const auto requested = static_cast<std::int64_t>(block->active ? block->requested : 0);
    segment.total_size += size;
    segment.allocated_size += block->allocated ? size : 0;
    segment.active_size += block->active ? size : 0;
    segment.requested_size += requested;
    segment.blocks.push_back({.address = addresses.simulated_address(block->address),
                              .size = size,
                              .requested_size = requested,
                              .allocated = block->allocated,
                              .active = block->active});
  }
  return segment;
}

}  // namespace

std::string DeviceAllocator::out_of_memory_message(std::size_t size) const {
  const std::int64_t reserved = stats_.reserved_bytes[kAll].current;
  const auto total = static_cast<std::int64_t>(capacity_);
  std::string allowed;
  if (fraction_ < 1.0)
    allowed = format_size(static_cast<std::int64_t>(allowed_bytes())) + " allowed; ";
  return "NPU out of memory. Tried to allocate " + format_size(static_cast<std::int64_t>(size)) +
         " (NPU " + std::to_string(device_) + "; " + format_size(total) + " total capacity; " +
         format_size(stats_.allocated_bytes[kAll].current) + " already allocated; " +
         format_size(stats_.active_bytes[kAll].current) + " current active; " +
         format_size(total - reserved) + " free; " + allowed + format_size(reserved) +
         " reserved in total by PyTorch).If reserved memory is >> allocated memory try setting "
         "max_split_size_mb to avoid fragmentation.";
}

std::size_t DeviceAllocator::allowed_bytes() const {
  return static_cast<std::size_t>(static_cast<double>(capacity_) * fraction_);
}

std::size_t DeviceAllocator::allocated_size(const void* pointer) {
  const std::lock_guard lock(mutex_);
  const Block* block = begin_ ? block_at(pointer) : nullptr;
  return block && block->allocated && block->address == pointer ? block->size : 0;
}

MemoryStats DeviceAllocator::stats() {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void DeviceAllocator::reset_peak_stats() {
  const std::lock_guard lock(mutex_);
  reset_peaks(stats_);
}

void DeviceAllocator::raise_peaks() {
  const std::lock_guard lock(mutex_);
  for (PoolStats* stats : {&stats_.allocation, &stats_.allocated_bytes, &stats_.active,
                           &stats_.active_bytes, &stats_.requested_bytes}) {
    runtime::raise_peaks(*stats);
  }
}

void DeviceAllocator::reset_accumulated_stats() {
  const std::lock_guard lock(mutex_);
  reset_accumulated(stats_);
}

MemoryInfo DeviceAllocator::info() {
  const std::int64_t memory = chip().memory_bytes;
  const std::lock_guard lock(mutex_);
  const std::int64_t total = begin_ ? static_cast<std::int64_t>(capacity_) : memory;
  return {.free = total - stats_.reserved_bytes[kAll].current, .total = total};
}

void DeviceAllocator::set_fraction(double fraction) {
  if (!(fraction >= 0.0 && fraction <= 1.0)) {
    throw base::ValueError("set_memory_fraction: expected a fraction in [0, 1], got " +
                           std::to_string(fraction));
  }
  const std::lock_guard lock(mutex_);
  fraction_ = fraction;
}

double DeviceAllocator::fraction() {
  const std::lock_guard lock(mutex_);
  return fraction_;
}

std::vector<SegmentSnapshot> DeviceAllocator::snapshot() {
  const std::lock_guard lock(mutex_);
  std::vector<SegmentSnapshot> segments;
  segments.reserve(segments_.size());
  for (const auto& [address, first] : segments_) {
    segments.push_back(snapshot_of(device_, first, addresses_));
  }
  if (begin_) note(MemoryTraceEntry::Action::kSnapshot, begin_, 0, 0);
  return segments;
}

void DeviceAllocator::set_history(std::size_t max_entries) {
  const std::lock_guard lock(mutex_);
  max_history_ = max_entries;
  while (history_.size() > max_history_) history_.pop_front();
}

std::vector<MemoryTraceEntry> DeviceAllocator::history() {
  const std::lock_guard lock(mutex_);
  return {history_.begin(), history_.end()};
}

void DeviceAllocator::note(MemoryTraceEntry::Action action, const void* address, std::size_t size,
                           std::int32_t stream) {
  if (max_history_ != 0) {
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(host_now());
    history_.push_back({.action = action,
                        .address = address ? addresses_.simulated_address(address) : 0,
                        .size = static_cast<std::int64_t>(size),
                        .stream = {device_, stream},
                        .time_us = now.count()});
    if (history_.size() > max_history_) history_.pop_front();
  }
}

void DeviceAllocator::trace_memory() const {
  DeviceTable& table = device_table();
  if (!table.trace.running()) return;
  table.trace.add({.device = device_,
                   .at = table.clock.now(),
                   .allocated_bytes = stats_.allocated_bytes[kAll].current,
                   .reserved_bytes = stats_.reserved_bytes[kAll].current});
}

}  // namespace npu_sim::runtime
