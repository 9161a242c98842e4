#include "runtime/trace.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/device_table.h"
#include "runtime/trace_log.h"

namespace npu_sim::runtime {
namespace {

void put_span(std::vector<KernelRecord>& kernels, Ticket base, const TracedSpan& span) {
  if (span.ticket < base) return;
  const auto index = static_cast<std::size_t>(span.ticket - base);
  if (index >= kernels.size()) return;
  kernels[index].start = span.start;
  kernels[index].end = span.end;
}

}  // namespace

std::int64_t TraceLog::start(base::SimTime now) {
  const std::lock_guard lock(mutex_);
  const std::int64_t id = next_id_++;
  starts_[id] = {now, base_ + static_cast<Ticket>(kernels_.size()), memory_.size()};
  running_.store(static_cast<int>(starts_.size()), std::memory_order_relaxed);
  return id;
}

Ticket TraceLog::add(const KernelRecord& record) {
  const std::lock_guard lock(mutex_);
  if (starts_.empty()) return kUntraced;
  kernels_.push_back(record);
  return base_ + static_cast<Ticket>(kernels_.size()) - 1;
}

void TraceLog::add(const MemoryRecord& record) {
  const std::lock_guard lock(mutex_);
  if (!starts_.empty()) memory_.push_back(record);
}

void TraceLog::set_spans(const std::vector<TracedSpan>& spans) {
  const std::lock_guard lock(mutex_);
  for (const TracedSpan& span : spans) put_span(kernels_, base_, span);
}

TraceData TraceLog::stop(std::int64_t id, base::SimTime now,
                         const std::vector<TracedSpan>& preview) {
  const std::lock_guard lock(mutex_);
  const auto found = starts_.find(id);
  if (found == starts_.end()) {
    throw base::ValueError("stop_trace: expected the id of a running trace, got " +
                           std::to_string(id) + "; start_trace() gives one, to be used once");
  }
  const Start from = found->second;
  TraceData data{.begin = from.at, .end = now, .kernels = {}, .memory = {}};
  const auto first = static_cast<std::ptrdiff_t>(from.first_kernel - base_);
  data.kernels.assign(kernels_.begin() + first, kernels_.end());
  data.memory.assign(memory_.begin() + static_cast<std::ptrdiff_t>(from.first_memory),
                     memory_.end());
  for (const TracedSpan& span : preview) put_span(data.kernels, from.first_kernel, span);
  std::ranges::stable_sort(data.kernels, {}, &KernelRecord::start);
  starts_.erase(found);
  running_.store(static_cast<int>(starts_.size()), std::memory_order_relaxed);
  forget_if_idle();
  return data;
}

void TraceLog::forget_if_idle() {
  if (!starts_.empty()) return;
  base_ += static_cast<Ticket>(kernels_.size());
  kernels_ = {};
  memory_ = {};
}

std::int64_t start_trace() { return device_table().trace.start(host_now()); }

TraceData stop_trace(std::int64_t id) {
  DeviceTable& table = device_table();
  const base::SimTime now = table.clock.now();
  std::vector<TracedSpan> preview;
  {
    const std::lock_guard lock(table.timeline_mutex);
    table.timeline.advance_to(now);
    table.trace.set_spans(table.timeline.take_spans());
    preview = table.timeline.preview();
  }
  return table.trace.stop(id, now, preview);
}

DeviceTotals device_totals(int device) {
  check_device(device);
  DeviceTable& table = device_table();
  const std::lock_guard lock(table.timeline_mutex);
  table.timeline.advance_to(table.clock.now());
  return table.timeline.totals(device);
}

}  // namespace npu_sim::runtime
