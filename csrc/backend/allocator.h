// torch's view of the caching allocator of the simulated cards.
#pragma once

#include <c10/core/CachingDeviceAllocator.h>

#include "runtime/stream.h"

namespace npu_sim::backend {

[[nodiscard]] c10::DeviceAllocator* npu_allocator();

// runtime::allocate with torch's own error types.
[[nodiscard]] void* allocate_on(runtime::StreamId stream, std::size_t bytes);

}  // namespace npu_sim::backend
