#include "runtime/stream.h"

#include <array>
#include <chrono>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/device_table.h"
#include "runtime/sync_debug.h"
#include "runtime/sync_launch.h"

namespace npu_sim::runtime {
namespace {

// Stream indices: 0 the default stream, then the pool of priority 0, then the urgent pool, then the
// pool of streams without a task queue.
constexpr int kFirstUrgent = 1 + kStreamsPerPool;
constexpr int kFirstInStep = kFirstUrgent + kStreamsPerPool;

thread_local std::array<std::int32_t, kMaxDevices> thread_streams{};

// The next stream of the pool whose streams begin at index `first`.
StreamId next_of_pool(int device, int first) {
  check_device(device);
  const auto pool = static_cast<std::size_t>((first - 1) / kStreamsPerPool);
  auto& next = device_table().next_in_pool[static_cast<std::size_t>(device)][pool];
  const auto turn = next.fetch_add(1, std::memory_order_relaxed) % kStreamsPerPool;
  return {device, static_cast<std::int32_t>(turn) + first};
}

}  // namespace

StreamId stream_from_pool(int device, int priority) {
  return next_of_pool(device, priority < kLowestPriority ? kFirstUrgent : 1);
}

StreamId sync_launch_stream(int device) { return next_of_pool(device, kFirstInStep); }

bool launches_in_step(StreamId stream) { return stream.index >= kFirstInStep; }

int priority_of(StreamId stream) {
  const bool urgent = stream.index >= kFirstUrgent && stream.index < kFirstInStep;
  return urgent ? kHighestPriority : kLowestPriority;
}

StreamId current_stream(int device) {
  check_device(device);
  return {device, thread_streams[static_cast<std::size_t>(device)]};
}

void set_current_stream(StreamId stream) {
  check_stream(stream);
  thread_streams[static_cast<std::size_t>(stream.device)] = stream.index;
}

bool query(StreamId stream) {
  check_stream(stream);
  DeviceTable& table = device_table();
  const base::SimTime now = advance_for_poll();
  const std::lock_guard lock(table.timeline_mutex);
  table.timeline.advance_to(now);
  return table.timeline.passed(stream, now);
}

void synchronize(StreamId stream) {
  check_stream(stream);
  note_host_wait();
  DeviceTable& table = device_table();
  base::SimTime end{};
  {
    const std::lock_guard lock(table.timeline_mutex);
    end = table.timeline.finish(table.timeline.record(stream, {}));
  }
  table.clock.wait_until(end);
  table.clock.advance(std::chrono::nanoseconds(chip().host.synchronize_ns));
}

}  // namespace npu_sim::runtime
