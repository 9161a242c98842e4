#include "backend/pinned_memory.h"

#include <c10/core/impl/alloc_cpu.h>

#include <map>
#include <mutex>

#include "backend/device_type.h"

namespace npu_sim::backend {
namespace {

// Live pinned ranges: start -> bytes. Pinning is rare, looking up is not: the map stays small.
class PinnedAllocator final : public at::HostAllocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* const pointer = bytes == 0 ? nullptr : c10::alloc_cpu(bytes);
    if (pointer != nullptr) {
      const std::lock_guard<std::mutex> lock(mutex_);
      ranges_.emplace(pointer, bytes);
      count(static_cast<std::int64_t>(bytes));
    }
    return {pointer, pointer, &release, c10::Device(c10::kCPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  // Values are copied at once and the simulated copy reads them at launch, so reuse is always safe.
  bool record_event(void*, void*, c10::Stream) override { return true; }
  void empty_cache() override {}

  at::HostStats get_stats() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    at::HostStats out;
    out.allocated_bytes = stats_;
    out.active_bytes = stats_;
    out.allocations.current = static_cast<std::int64_t>(ranges_.size());
    return out;
  }
  void reset_accumulated_stats() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.reset_accumulated();
  }
  void reset_peak_stats() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.reset_peak();
  }

  bool holds(const void* pointer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto after = ranges_.upper_bound(const_cast<void*>(pointer));
    if (after == ranges_.begin()) return false;
    const auto& [start, bytes] = *std::prev(after);
    return static_cast<const char*>(pointer) < static_cast<const char*>(start) + bytes;
  }

 private:
  static void release(void* pointer);

  void count(std::int64_t bytes) {
    if (bytes >= 0) {
      stats_.increase(static_cast<std::size_t>(bytes));
    } else {
      stats_.decrease(static_cast<std::size_t>(-bytes));
    }
  }

  std::mutex mutex_;
  std::map<void*, std::size_t> ranges_;
  c10::CachingAllocator::Stat stats_;
};

PinnedAllocator& instance() {
  static auto* const allocator = new PinnedAllocator();  // outlives every tensor
  return *allocator;
}

void PinnedAllocator::release(void* pointer) {
  if (pointer == nullptr) return;
  PinnedAllocator& self = instance();
  {
    const std::lock_guard<std::mutex> lock(self.mutex_);
    const auto range = self.ranges_.find(pointer);
    self.count(-static_cast<std::int64_t>(range->second));
    self.ranges_.erase(range);
  }
  c10::free_cpu(pointer);
}

REGISTER_HOST_ALLOCATOR(kNpu, &instance())

}  // namespace

at::HostAllocator* pinned_allocator() { return &instance(); }

bool is_pinned(const void* pointer) { return instance().holds(pointer); }

}  // namespace npu_sim::backend
