// How busy a card was, as its management tool would tell.
#pragma once

#include <array>

#include "base/units.h"
#include "runtime/timeline/timeline.h"

namespace npu_sim::runtime {

// Percent (0 to 100, to the nearest) of the host's simulated time since the last call for the
// device in which at least one kernel ran on it; the first call looks back to the start.
[[nodiscard]] int utilization(int device);

// What the last reading of each device was; part of the device table, under its timeline's lock.
class UtilizationMeter {
 public:
  [[nodiscard]] int read(int device, base::SimTime now, base::SimTime busy);
  void reset() { last_ = {}; }

 private:
  struct Reading {
    base::SimTime at{};
    base::SimTime busy{};
  };
  std::array<Reading, kMaxDevices> last_{};
};

}  // namespace npu_sim::runtime
