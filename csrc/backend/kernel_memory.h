// While a CPU kernel works for an npu tensor, its allocations come from the card's memory, so that
// results are adopted without a copy and temporaries are the kernel's workspace.
#pragma once

#include <c10/core/Allocator.h>

#include "runtime/memory/peak_deferral.h"
#include "runtime/stream.h"

namespace npu_sim::backend {

// The process's CPU allocator: the previous one, except inside a KernelMemoryScope.
[[nodiscard]] c10::Allocator* kernel_memory();

// Puts kernel_memory() in the place of torch's CPU allocator. Called once, at import.
void install_kernel_memory();

// Whether this thread works for an npu tensor: it is inside a KernelMemoryScope.
[[nodiscard]] bool works_for_npu();

// Until destroyed, this thread's CPU allocations come from `stream`'s device, whose peak statistics
// count only what outlives the outermost scope. Scopes nest.
// Throws in a process forked from one that had used the cards.
class KernelMemoryScope {
 public:
  explicit KernelMemoryScope(runtime::StreamId stream);
  ~KernelMemoryScope();
  KernelMemoryScope(const KernelMemoryScope&) = delete;
  KernelMemoryScope& operator=(const KernelMemoryScope&) = delete;

 private:
  runtime::PeakDeferral peaks_;
  runtime::StreamId previous_;
};

// Until destroyed, this thread's CPU allocations are ordinary host memory again.
class HostMemoryScope {
 public:
  HostMemoryScope();
  ~HostMemoryScope();
  HostMemoryScope(const HostMemoryScope&) = delete;
  HostMemoryScope& operator=(const HostMemoryScope&) = delete;

 private:
  runtime::StreamId previous_;
};

}  // namespace npu_sim::backend
