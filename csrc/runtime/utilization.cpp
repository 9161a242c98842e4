#include "runtime/utilization.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "runtime/device_table.h"

namespace npu_sim::runtime {

int UtilizationMeter::read(int device, base::SimTime now, base::SimTime busy) {
  constexpr double kPercent = 100;
  Reading& last = last_[static_cast<std::size_t>(device)];
  const auto passed = static_cast<double>((now - last.at).count());
  const auto worked = static_cast<double>((busy - last.busy).count());
  last = {now, busy};
  if (passed <= 0) return 0;
  return static_cast<int>(std::lround(std::clamp(kPercent * worked / passed, 0.0, kPercent)));
}

int utilization(int device) {
  check_device(device);
  const base::SimTime now = advance_for_poll();
  DeviceTable& table = device_table();
  const std::lock_guard lock(table.timeline_mutex);
  table.timeline.advance_to(now);
  return table.utilization.read(device, now, table.timeline.totals(device).busy);
}

}  // namespace npu_sim::runtime
