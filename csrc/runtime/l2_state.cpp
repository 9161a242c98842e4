#include "runtime/l2_state.h"

#include <mutex>

#include "runtime/device.h"
#include "runtime/device_table.h"

namespace npu_sim::runtime {

model::L2& L2State::of(int device) {
  std::unique_ptr<model::L2>& cache = caches_[static_cast<std::size_t>(device)];
  if (!cache) cache = std::make_unique<model::L2>(chip());
  return *cache;
}

model::Residency L2State::pass(int device, const model::Demand& demand,
                               const model::Footprint& operands) {
  return of(device).pass(model::traffic_of(demand), operands);
}

void L2State::reset() {
  for (std::unique_ptr<model::L2>& cache : caches_) cache.reset();
}

std::uint64_t L2State::flush(int device) { return of(device).flush(); }

L2Contents L2State::contents(int device) {
  const model::L2& cache = of(device);
  return {.capacity = cache.capacity(),
          .resident = cache.resident_bytes(),
          .dirty = cache.dirty_bytes()};
}

std::uint64_t flush_l2(int device) {
  check_device(device);
  static_cast<void>(chip());  // its lock goes before the timeline's
  DeviceTable& table = device_table();
  const std::lock_guard lock(table.timeline_mutex);
  return table.l2.flush(device);
}

L2Contents l2_contents(int device) {
  check_device(device);
  static_cast<void>(chip());
  DeviceTable& table = device_table();
  const std::lock_guard lock(table.timeline_mutex);
  return table.l2.contents(device);
}

}  // namespace npu_sim::runtime
