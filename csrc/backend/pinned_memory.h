// Pinned host memory: ordinary host memory that is registered, so that copies can be asynchronous.
#pragma once

#include <ATen/core/CachingHostAllocator.h>

namespace npu_sim::backend {

[[nodiscard]] at::HostAllocator* pinned_allocator();

// True for any address inside a live pinned allocation.
[[nodiscard]] bool is_pinned(const void* pointer);

}  // namespace npu_sim::backend
