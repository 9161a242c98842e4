// What ran: kernel records in simulated time, and totals that are always counted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/cost/kernel_time.h"
#include "model/work/work.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {

struct KernelRecord {
  std::string_view op;    // framework operator: "aten::mm"
  std::string_view name;  // kind of kernel: model::name(work)
  StreamId stream{};
  base::SimTime issued{};  // host clock when it was queued
  base::SimTime start{};
  base::SimTime end{};     // later than start + time.duration when the card was shared
  model::KernelTime time;  // alone on the card
  model::Work work;
};

struct MemoryRecord {
  int device = 0;
  base::SimTime at{};  // host clock
  std::int64_t allocated_bytes = 0;
  std::int64_t reserved_bytes = 0;
};

struct TraceData {
  base::SimTime begin{};  // host clock at start and stop
  base::SimTime end{};
  std::vector<KernelRecord> kernels;  // in order of start
  std::vector<MemoryRecord> memory;
};

struct DeviceTotals {
  std::int64_t kernels = 0;  // launched
  base::SimTime busy{};      // time in which at least one kernel ran
};

// Traces nest and overlap freely; each sees the kernels launched between its start and its stop.
[[nodiscard]] std::int64_t start_trace();
// Resolves every device (without moving the host clock) and returns what was seen.
// Throws base::ValueError for an id that is not running.
[[nodiscard]] TraceData stop_trace(std::int64_t id);

// What a device has done up to the host's present time; always counted.
[[nodiscard]] DeviceTotals device_totals(int device);

// Operators that were timed by bytes alone because nobody has described them: op -> calls.
[[nodiscard]] std::map<std::string, std::int64_t> undescribed_ops();
// Operators timed as host fallbacks because the card lacks them: op -> calls.
[[nodiscard]] std::map<std::string, std::int64_t> fallback_ops();

}  // namespace npu_sim::runtime
