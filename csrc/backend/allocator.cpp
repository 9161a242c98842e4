#include "backend/allocator.h"

#include <c10/core/Allocator.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/backward_thread.h"
#include "backend/device_type.h"
#include "backend/process.h"
#include "base/error.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::backend {
namespace {

using c10::CachingDeviceAllocator::DeviceStats;

c10::CachingAllocator::Stat convert(const runtime::Stat& stat) {
  c10::CachingAllocator::Stat out;
  out.current = stat.current;
  out.peak = stat.peak;
  out.allocated = stat.allocated;
  out.freed = stat.freed;
  return out;
}

c10::CachingAllocator::StatArray convert(const runtime::PoolStats& stats) {
  c10::CachingAllocator::StatArray out;
  for (std::size_t i = 0; i < stats.size(); ++i) out[i] = convert(stats[i]);
  return out;
}

class NpuAllocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    const int device = runtime::current_device();
    void* const pointer = allocate_on(runtime::current_stream(device), bytes);
    return {pointer, pointer, &runtime::deallocate, npu_device(device)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &runtime::deallocate; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }

  bool initialized() override { return runtime::used(); }

  void emptyCache(c10::MempoolId_t) override {
    for (int device = 0; device < runtime::device_count(); ++device) runtime::empty_cache(device);
  }

  void recordStream(const c10::DataPtr& data, c10::Stream stream) override {
    if (data) runtime::record_stream(data.get(), to_runtime(stream));
  }

  DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    const runtime::MemoryStats stats = runtime::memory_stats(device);
    DeviceStats out;
    out.allocation = convert(stats.allocation);
    out.segment = convert(stats.segment);
    out.active = convert(stats.active);
    out.inactive_split = convert(stats.inactive_split);
    out.allocated_bytes = convert(stats.allocated_bytes);
    out.reserved_bytes = convert(stats.reserved_bytes);
    out.active_bytes = convert(stats.active_bytes);
    out.inactive_split_bytes = convert(stats.inactive_split_bytes);
    out.requested_bytes = convert(stats.requested_bytes);
    out.oversize_allocations = convert(stats.oversize_allocations);
    out.oversize_segments = convert(stats.oversize_segments);
    out.num_alloc_retries = stats.num_alloc_retries;
    out.num_ooms = stats.num_ooms;
    out.num_sync_all_streams = stats.num_sync_all_streams;
    out.num_device_alloc = stats.num_device_alloc;
    out.num_device_free = stats.num_device_free;
    out.max_split_size = stats.max_split_size;
    return out;
  }

  void resetAccumulatedStats(c10::DeviceIndex device) override {
    runtime::reset_accumulated_memory_stats(device);
  }

  void resetPeakStats(c10::DeviceIndex device) override {
    runtime::reset_peak_memory_stats(device);
  }

  std::pair<std::size_t, std::size_t> getMemoryInfo(c10::DeviceIndex device) override {
    const runtime::MemoryInfo info = runtime::memory_info(device);
    return {static_cast<std::size_t>(info.free), static_cast<std::size_t>(info.total)};
  }
};

NpuAllocator& instance() {
  static auto* const allocator = new NpuAllocator();  // torch keeps the pointer past exit
  return *allocator;
}

const bool kRegistered = [] {
  c10::SetAllocator(kNpu, &instance());
  return true;
}();

}  // namespace

c10::DeviceAllocator* npu_allocator() { return &instance(); }

void* allocate_on(runtime::StreamId stream, std::size_t bytes) {
  check_process();
  keep_backward_in_this_thread();
  try {
    return runtime::allocate(stream, bytes);
  } catch (const base::OutOfMemoryError& error) {
    TORCH_CHECK(bytes <= std::size_t{PTRDIFF_MAX},
                "npu: expected a size of 0 bytes or more, got one that is negative as a signed "
                "number, ",
                static_cast<std::ptrdiff_t>(bytes));
    TORCH_CHECK_WITH(OutOfMemoryError, false, error.what());
  }
}

}  // namespace npu_sim::backend
