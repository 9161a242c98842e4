#include "backend/pinned_memory.h"

#include <c10/core/impl/alloc_cpu.h>
#include <pthread.h>

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
      bytes_.increase(bytes);
      blocks_.increase(1);
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
    out.allocated_bytes = out.active_bytes = bytes_;  // nothing is cached: allocated is in use
    out.allocations = out.active_requests = blocks_;
    out.num_host_alloc = blocks_.allocated;
    out.num_host_free = blocks_.freed;
    return out;
  }
  void reset_accumulated_stats() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    bytes_.reset_accumulated();
    blocks_.reset_accumulated();
  }
  void reset_peak_stats() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    bytes_.reset_peak();
    blocks_.reset_peak();
  }

  bool holds(const void* pointer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto after = ranges_.upper_bound(const_cast<void*>(pointer));
    if (after == ranges_.begin()) return false;
    const auto& [start, bytes] = *std::prev(after);
    return static_cast<const char*>(pointer) < static_cast<const char*>(start) + bytes;
  }

  static void lock();
  static void unlock();

 private:
  static void release(void* pointer);

  std::mutex mutex_;
  std::map<void*, std::size_t> ranges_;
  c10::CachingAllocator::Stat bytes_;
  c10::CachingAllocator::Stat blocks_;
};

PinnedAllocator& instance() {
  static auto* const allocator = [] {
    // A child forked while another thread pins memory (a data loader's, say) must not find the lock
    // taken for ever.
    pthread_atfork(&PinnedAllocator::lock, &PinnedAllocator::unlock, &PinnedAllocator::unlock);
    return new PinnedAllocator();  // outlives every tensor
  }();
  return *allocator;
}

void PinnedAllocator::lock() { instance().mutex_.lock(); }
void PinnedAllocator::unlock() { instance().mutex_.unlock(); }

void PinnedAllocator::release(void* pointer) {
  if (pointer == nullptr) return;
  PinnedAllocator& self = instance();
  {
    const std::lock_guard<std::mutex> lock(self.mutex_);
    const auto range = self.ranges_.find(pointer);
    self.bytes_.decrease(range->second);
    self.blocks_.decrease(1);
    self.ranges_.erase(range);
  }
  c10::free_cpu(pointer);
}

REGISTER_HOST_ALLOCATOR(kNpu, &instance())

}  // namespace

at::HostAllocator* pinned_allocator() { return &instance(); }

bool is_pinned(const void* pointer) { return instance().holds(pointer); }

}  // namespace npu_sim::backend
