#include "runtime/launch.h"

#include <chrono>
#include <mutex>
#include <optional>
#include <string>

#include "base/units.h"
#include "model/work/name.h"
#include "runtime/core_limit.h"
#include "runtime/device.h"
#include "runtime/device_stop.h"
#include "runtime/device_table.h"
#include "runtime/l2_state.h"
#include "runtime/plan_cache.h"
#include "runtime/sync_debug.h"
#include "runtime/sync_launch.h"

namespace npu_sim::runtime {
namespace {

using base::SimTime;

// How far the host may run ahead of a stream before a launch waits, in tasks.
// assumed: a driver queue of this order, 1024 to 16384; only a host that never synchronises meets
// it.
constexpr std::size_t kMaxAhead = 4096;
// Ended tasks are taken off a stream each time this many have come; a power of two.
constexpr std::size_t kResolveEvery = 256;

void check_site(DeviceTable& table, const LaunchSite& site) {
  check_stream(site.stream);
  if (table.any_stopped.load(std::memory_order_relaxed)) check_running(site.stream.device);
}

Ticket trace(DeviceTable& table, const LaunchSite& site, const model::Work& work,
             const model::KernelTime& time, SimTime issued) {
  if (!table.trace.running()) return kUntraced;
  return table.trace.add({.op = site.op,
                          .name = model::name(work),
                          .stream = site.stream,
                          .issued = issued,
                          .start = issued,
                          .end = issued,
                          .time = time,
                          .work = work});
}

// The time the host must wait for, when it has run too far ahead of the stream.
std::optional<SimTime> keep_bounded(Timeline& timeline, StreamId stream, SimTime now) {
  const std::size_t pending = timeline.pending(stream);
  if (pending % kResolveEvery != 0 && pending < kMaxAhead) return std::nullopt;
  timeline.advance_to(now);
  if (timeline.pending(stream) < kMaxAhead) return std::nullopt;
  return timeline.drain_to(stream, kMaxAhead - kResolveEvery);
}

// One kernel on its way to the card.
struct Kernel {
  const LaunchSite& site;
  const model::Work& work;
  const model::Footprint& operands;
};

// Queues the kernel; the point behind it when `wait`.
PointPtr queue(const Kernel& kernel, SimTime issued, bool wait) {
  DeviceTable& table = device_table();
  const runtime::StreamId stream = kernel.site.stream;
  const model::ChipSpec& cores = chip_of(stream);
  Plan& plan = plan_of(kernel.work, cores);
  std::optional<SimTime> host_waits;
  PointPtr point;
  {
    const std::lock_guard lock(table.timeline_mutex);
    const model::KernelTime& time =
        plan.time(table.l2.pass(stream.device, plan.demand(), kernel.operands));
    const Ticket ticket = trace(table, kernel.site, kernel.work, time, issued);
    if (launches_in_step(stream)) {
      host_waits = table.timeline.finish(table.timeline.record(stream, issued));
    }
    if (&cores == &chip()) {
      table.timeline.launch(stream, time, issued, ticket);
    } else {
      table.timeline.launch(stream, share_of_card(time, cores), issued, ticket);
    }
    if (!host_waits) host_waits = keep_bounded(table.timeline, stream, issued);
    if (wait) point = table.timeline.record(stream, issued);
  }
  if (host_waits) table.clock.wait_until(*host_waits);
  return point;
}

void queue_and_wait(const Kernel& kernel, SimTime issued) {
  note_host_wait();
  const PointPtr point = queue(kernel, issued, true);
  DeviceTable& table = device_table();
  SimTime end{};
  {
    const std::lock_guard lock(table.timeline_mutex);
    end = table.timeline.finish(point);
  }
  table.clock.wait_until(end);
}

}  // namespace

std::string_view intern(std::string_view text) {
  DeviceTable& table = device_table();
  const std::lock_guard lock(table.intern_mutex);
  return *table.interned.emplace(text).first;
}

void record(const LaunchSite& site, const model::Work& work, const model::Footprint& operands) {
  DeviceTable& table = device_table();
  const model::HostSpec& host = chip().host;
  if (std::holds_alternative<model::NoWork>(work)) {
    table.clock.advance(std::chrono::nanoseconds(host.view_op_ns));
    return;
  }
  if (const auto* copy = std::get_if<model::CopyWork>(&work)) {
    record_copy(site, *copy, false, operands);
    return;
  }
  check_site(table, site);
  const SimTime issued = table.clock.advance(std::chrono::nanoseconds(host.eager_op_ns));
  if (std::holds_alternative<model::HostWork>(work)) {
    table.fallbacks.count(site.op);
    queue_and_wait({site, work, operands}, issued);
    return;
  }
  if (std::holds_alternative<model::UndescribedWork>(work)) table.undescribed.count(site.op);
  queue({site, work, operands}, issued, false);
}

void record_copy(const LaunchSite& site, const model::CopyWork& work, bool blocking,
                 const model::Footprint& operands) {
  DeviceTable& table = device_table();
  check_site(table, site);
  const model::HostSpec& host = chip().host;
  const bool crosses_link = work.route == model::CopyRoute::kHostToDevice ||
                            work.route == model::CopyRoute::kDeviceToHost;
  const auto call = host.eager_op_ns + (crosses_link ? host.copy_call_ns : 0);
  const SimTime issued = table.clock.advance(std::chrono::nanoseconds(call));
  const model::Work copy = work;
  const Kernel kernel{site, copy, operands};
  if (blocking) {
    queue_and_wait(kernel, issued);
  } else {
    queue(kernel, issued, false);
  }
}

}  // namespace npu_sim::runtime
