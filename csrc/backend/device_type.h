// The device type torch lends to out-of-tree backends, and its mapping to runtime's plain names.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include "runtime/device.h"
#include "runtime/stream.h"

namespace npu_sim::backend {

inline constexpr c10::DeviceType kNpu = c10::DeviceType::PrivateUse1;

[[nodiscard]] inline c10::Device npu_device(int index) {
  return {kNpu, static_cast<c10::DeviceIndex>(index)};
}

// "npu" without an index means the current device.
[[nodiscard]] inline int index_of(c10::Device device) {
  return device.has_index() ? device.index() : runtime::current_device();
}

[[nodiscard]] inline c10::Stream to_torch(runtime::StreamId stream) {
  return c10::Stream(c10::Stream::UNSAFE, npu_device(stream.device), stream.index);
}

[[nodiscard]] inline runtime::StreamId to_runtime(c10::Stream stream) {
  return {.device = stream.device_index(), .index = static_cast<std::int32_t>(stream.id())};
}

}  // namespace npu_sim::backend
