// The one host clock of the process: simulated time of the thread that dispatches.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/units.h"

namespace npu_sim::runtime {

class HostClock {
 public:
  [[nodiscard]] base::SimTime now() const {
    return base::SimTime(picoseconds_.load(std::memory_order_acquire));
  }
  // The time after the advance.
  base::SimTime advance(base::SimTime cost) {
    return base::SimTime(picoseconds_.fetch_add(cost.count(), std::memory_order_acq_rel)) + cost;
  }
  // Moves the clock to `time` unless it is later already.
  void wait_until(base::SimTime time);
  void reset() { picoseconds_.store(0, std::memory_order_release); }

 private:
  std::atomic<std::int64_t> picoseconds_{0};
};

}  // namespace npu_sim::runtime
