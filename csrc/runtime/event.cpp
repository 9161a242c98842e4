#include "runtime/event.h"

#include <chrono>
#include <mutex>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/device_table.h"

namespace npu_sim::runtime {

struct Event::State {
  explicit State(bool with_timing) : timing(with_timing) {}

  const bool timing;
  mutable std::mutex mutex;
  PointPtr point;  // of the last record

  [[nodiscard]] PointPtr last() const {
    const std::lock_guard lock(mutex);
    return point;
  }
};

namespace {

// Whether the host's clock, at `now`, has come past the point.
bool reached(const PointPtr& point, base::SimTime now) {
  DeviceTable& table = device_table();
  const std::lock_guard lock(table.timeline_mutex);
  table.timeline.advance_to(now);
  return point->resolved && point->time <= now;
}

}  // namespace

Event::Event(bool timing) : state_(std::make_shared<State>(timing)) {}

void Event::record(StreamId stream) {
  check_stream(stream);
  DeviceTable& table = device_table();
  PointPtr point;
  {
    const std::lock_guard lock(table.timeline_mutex);
    point = table.timeline.record(stream, table.clock.now());
  }
  const std::lock_guard lock(state_->mutex);
  state_->point = std::move(point);
}

void Event::block(StreamId stream) const {
  check_stream(stream);
  const PointPtr point = state_->last();
  if (!point) return;
  DeviceTable& table = device_table();
  const std::lock_guard lock(table.timeline_mutex);
  table.timeline.wait(stream, point);
}

bool Event::query() const {
  const PointPtr point = state_->last();
  const base::SimTime now = advance_for_poll();
  return !point || reached(point, now);
}

void Event::synchronize() const {
  const PointPtr point = state_->last();
  DeviceTable& table = device_table();
  if (point) {
    base::SimTime time{};
    {
      const std::lock_guard lock(table.timeline_mutex);
      time = table.timeline.finish(point);
    }
    table.clock.wait_until(time);
  }
  table.clock.advance(std::chrono::nanoseconds(chip().host.synchronize_ns));
}

bool Event::recorded() const { return state_->last() != nullptr; }

bool Event::timing() const { return state_->timing; }

int Event::device() const {
  const PointPtr point = state_->last();
  return point ? point->stream.device : -1;
}

base::SimTime Event::elapsed(const Event& start, const Event& end) {
  if (!start.timing() || !end.timing()) {
    throw base::ValueError("Both events must be created with argument 'enable_timing=True'.");
  }
  const PointPtr first = start.state_->last();
  const PointPtr last = end.state_->last();
  if (!first || !last) {
    throw base::ValueError("Both events must be recorded before calculating elapsed time.");
  }
  if (first->stream.device != last->stream.device) {
    throw base::ValueError("Event device index of the two events must be the same, got npu:" +
                           std::to_string(first->stream.device) +
                           " and npu:" + std::to_string(last->stream.device) +
                           "; time each device with its own events");
  }
  const base::SimTime now = host_now();
  if (!reached(first, now) || !reached(last, now)) {
    throw base::ValueError("Both events must be completed before calculating elapsed time.");
  }
  return last->time - first->time;
}

}  // namespace npu_sim::runtime
