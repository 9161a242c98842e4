// Operators that draw from the CPU's default generator without being handed one (native_dropout of
// nested tensors) must draw from the npu's default generator instead.
#pragma once

#include <c10/core/Device.h>

#include <mutex>

namespace npu_sim::aten {

// Lends the state of the device's default generator to the CPU's default generator, and takes the
// advanced state back at the end. One at a time in a process: two would take each other's states.
class RandomScope {
 public:
  explicit RandomScope(c10::DeviceIndex device);
  ~RandomScope();
  RandomScope(const RandomScope&) = delete;
  RandomScope& operator=(const RandomScope&) = delete;

 private:
  void exchange();

  std::unique_lock<std::mutex> turn_;
  c10::DeviceIndex device_;
};

}  // namespace npu_sim::aten
