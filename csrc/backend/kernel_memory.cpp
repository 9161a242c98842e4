#include "backend/kernel_memory.h"

#include <c10/core/CPUAllocator.h>

#include "backend/allocator.h"
#include "backend/process.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::backend {
namespace {

constexpr runtime::StreamId kHost{.device = -1, .index = 0};
constinit thread_local runtime::StreamId g_stream = kHost;

class KernelMemory final : public c10::Allocator {
 public:
  explicit KernelMemory(c10::Allocator* host) : host_(host) {}

  c10::DataPtr allocate(std::size_t bytes) override {
    if (C10_LIKELY(g_stream.device < 0)) return host_->allocate(bytes);
    void* const pointer = allocate_on(g_stream, bytes);
    return {pointer, pointer, &runtime::deallocate, c10::Device(c10::kCPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static void release(void* pointer);

  c10::Allocator* host_;
};

KernelMemory& instance() {
  static auto* const memory = new KernelMemory(c10::GetDefaultCPUAllocator());  // never destroyed
  return *memory;
}

void KernelMemory::release(void* pointer) {
  if (runtime::device_of(pointer) >= 0) {
    runtime::deallocate(pointer);
  } else {
    instance().host_->raw_deleter()(pointer);
  }
}

}  // namespace

c10::Allocator* kernel_memory() { return &instance(); }

void install_kernel_memory() { c10::SetCPUAllocator(kernel_memory(), /*priority=*/1); }

bool works_for_npu() { return g_stream.device >= 0; }

KernelMemoryScope::KernelMemoryScope(runtime::StreamId stream) : previous_(g_stream) {
  check_process();
  g_stream = stream;
}
KernelMemoryScope::~KernelMemoryScope() { g_stream = previous_; }

HostMemoryScope::HostMemoryScope() : previous_(g_stream) { g_stream = kHost; }
HostMemoryScope::~HostMemoryScope() { g_stream = previous_; }

}  // namespace npu_sim::backend
