#include "runtime/host_clock.h"

#include "runtime/device.h"
#include "runtime/device_table.h"

namespace npu_sim::runtime {

void HostClock::wait_until(base::SimTime time) {
  std::int64_t now = picoseconds_.load(std::memory_order_acquire);
  while (now < time.count() &&
         !picoseconds_.compare_exchange_weak(now, time.count(), std::memory_order_acq_rel)) {
  }
}

base::SimTime host_now() { return device_table().clock.now(); }

void advance_host(base::SimTime cost) { device_table().clock.advance(cost); }

}  // namespace npu_sim::runtime
