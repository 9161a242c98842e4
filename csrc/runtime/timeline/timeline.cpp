#include "runtime/timeline/timeline.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace npu_sim::runtime {
namespace {

using base::SimTime;
constexpr SimTime kNever = SimTime::max();
// Done tasks at a queue's front are dropped together, so that dropping costs little a task.
constexpr std::size_t kCompactAt = 256;

}  // namespace

Timeline::Timeline(int devices)
    : streams_(static_cast<std::size_t>(devices) * kStreamsPerDevice),
      totals_(static_cast<std::size_t>(devices)) {
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    streams_[i].id = {static_cast<std::int32_t>(i / kStreamsPerDevice),
                      static_cast<std::int32_t>(i % kStreamsPerDevice)};
    streams_[i].runner.priority = priority_of(streams_[i].id);
  }
}

Timeline::Stream& Timeline::stream_of(StreamId id) {
  return streams_[static_cast<std::size_t>(id.device) * kStreamsPerDevice +
                  static_cast<std::size_t>(id.index)];
}

const Timeline::Stream& Timeline::stream_of(StreamId id) const {
  return const_cast<Timeline*>(this)->stream_of(id);
}

void Timeline::push(StreamId id, Task task) {
  Stream& stream = stream_of(id);
  stream.tasks.push_back(std::move(task));
  if (!stream.listed) {
    stream.listed = true;
    active_.push_back(static_cast<std::size_t>(&stream - streams_.data()));
  }
}

void Timeline::launch(StreamId stream, const model::KernelTime& time, SimTime issued,
                      Ticket ticket) {
  Task task{.ticket = ticket,
            .issued = issued,
            .duration = time.duration,
            .busy = busy_of_shared(time),
            .point = {}};
  ++totals_[static_cast<std::size_t>(stream.device)].kernels;
  push(stream, std::move(task));
}

PointPtr Timeline::record(StreamId id, SimTime issued) {
  auto point = std::make_shared<Point>(Point{.stream = id});
  const Stream& stream = stream_of(id);
  if (stream.empty()) {
    point->time = std::max(stream.ready, issued);
    point->resolved = true;
    return point;
  }
  push(id, {.kind = Task::Kind::kRecord, .issued = issued, .busy = {}, .point = point});
  return point;
}

void Timeline::wait(StreamId id, const PointPtr& point) {
  Stream& stream = stream_of(id);
  if (stream.empty() && point->resolved) {
    stream.ready = std::max(stream.ready, point->time);
    return;
  }
  push(id, {.kind = Task::Kind::kWait, .busy = {}, .point = point});
}

void Timeline::pop(Stream& stream) {
  stream.front().point.reset();
  ++stream.head;
  if (stream.empty()) {
    stream.tasks.clear();
    stream.head = 0;
  } else if (stream.head >= kCompactAt && stream.head * 2 >= stream.tasks.size()) {
    stream.tasks.erase(stream.tasks.begin(),
                       stream.tasks.begin() + static_cast<std::ptrdiff_t>(stream.head));
    stream.head = 0;
  }
}

template <class Reached>
void Timeline::run(SimTime limit, Reached reached) {
  while (!reached() && step(limit)) {
  }
}

void Timeline::advance_to(SimTime limit) {
  run(limit, [] { return false; });
  now_ = std::max(now_, limit);
}

SimTime Timeline::finish(const PointPtr& point) {
  run(kNever, [&] { return point->resolved; });
  if (!point->resolved) throw base::Error("timeline: a point was never reached; report this");
  return point->time;
}

SimTime Timeline::drain_to(StreamId id, std::size_t depth) {
  run(kNever, [&] { return pending(id) <= depth; });
  return now_;
}

std::size_t Timeline::pending(StreamId id) const {
  const Stream& stream = stream_of(id);
  return stream.tasks.size() - stream.head;
}

bool Timeline::passed(StreamId id, SimTime time) const {
  const Stream& stream = stream_of(id);
  return stream.empty() && stream.ready <= time;
}

const DeviceTotals& Timeline::totals(int device) const {
  return totals_[static_cast<std::size_t>(device)];
}

std::vector<TracedSpan> Timeline::take_spans() { return std::exchange(spans_, {}); }

std::vector<TracedSpan> Timeline::preview() const {
  Timeline copy = *this;
  std::vector<PointPtr> resolved;
  copy.resolved_log_ = &resolved;
  copy.spans_.clear();
  copy.run(kNever, [] { return false; });
  for (const PointPtr& point : resolved) point->resolved = false;
  return copy.take_spans();
}

void Timeline::reset() {
  for (const std::size_t index : active_) {
    for (const Task& task : streams_[index].tasks) {
      if (task.kind == Task::Kind::kRecord && task.point) task.point->resolved = true;
    }
  }
  *this = Timeline(static_cast<int>(totals_.size()));
}

}  // namespace npu_sim::runtime
