#include "runtime/device_stop.h"

#include <string>

#include "base/error.h"
#include "runtime/device_table.h"

namespace npu_sim::runtime {
namespace {

std::atomic<bool>& flag_of(int device) {
  return device_table().stopped[static_cast<std::size_t>(device)];
}

}  // namespace

void stop_device(int device) {
  check_device(device);
  flag_of(device).store(true, std::memory_order_release);
  device_table().any_stopped.store(true, std::memory_order_release);
}

void restart_device(int device) {
  check_device(device);
  flag_of(device).store(false, std::memory_order_release);
}

bool device_stopped(int device) {
  check_device(device);
  return flag_of(device).load(std::memory_order_acquire);
}

void check_running(int device) {
  if (!flag_of(device).load(std::memory_order_relaxed)) return;
  const std::string index = std::to_string(device);
  throw base::Error(
      "npu: FORCE STOP: expected a launch on a running device, got one on npu:" + index +
      ", which stop_device() stopped; call torch.npu.restart_device(" + index + ") to go on");
}

}  // namespace npu_sim::runtime
