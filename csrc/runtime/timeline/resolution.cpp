// How the schedule moves on: from one start or end of a kernel to the next.
#include <algorithm>
#include <bitset>

#include "runtime/timeline/timeline.h"

namespace npu_sim::runtime {
namespace {

using base::SimTime;
constexpr SimTime kNever = SimTime::max();

unsigned __int128 to_left(SimTime time) {
  return static_cast<unsigned __int128>(time.count()) << kFractionBits;
}

// now + left / speed, rounded to the nearest picosecond: a kernel alone then takes exactly its
// duration, and two that share a pipe never more than the sum.
SimTime end_at(SimTime now, unsigned __int128 left, std::uint64_t speed) {
  if (speed == 0) return kNever;
  const unsigned __int128 wait =
      speed == kOne ? (left + kOne / 2) >> kFractionBits : (left + speed / 2) / speed;
  const auto room = static_cast<unsigned __int128>((kNever - now).count());
  return wait >= room ? kNever : now + SimTime(static_cast<std::int64_t>(wait));
}

}  // namespace

// Takes records, and waits whose point is known, off the front. True when it took any.
bool Timeline::pass_instant_tasks(Stream& stream) {
  bool any = false;
  while (!stream.empty()) {
    const Task& task = stream.front();
    if (task.kind == Task::Kind::kKernel) break;
    if (task.kind == Task::Kind::kWait) {
      if (!task.point->resolved) break;
      stream.ready = std::max(stream.ready, task.point->time);
    } else {
      task.point->time = std::max(stream.ready, task.issued);
      task.point->resolved = true;
      if (resolved_log_) resolved_log_->push_back(task.point);
    }
    pop(stream);
    any = true;
  }
  return any;
}

SimTime Timeline::start_of(const Stream& stream, const Task& kernel) const {
  return std::max({stream.ready, kernel.issued, now_});
}

void Timeline::begin(Stream& stream, SimTime start) {
  stream.running = true;
  stream.started = start;
  stream.left = to_left(stream.front().duration);
  stream.runner.speed = kOne;
  stream.use_known = false;
  speeds_stale_ = true;
}

void Timeline::end(Stream& stream, SimTime at) {
  const Ticket ticket = stream.front().ticket;
  if (ticket != kUntraced) spans_.push_back({ticket, stream.started, at});
  stream.running = false;
  stream.ready = at;
  speeds_stale_ = true;
  pop(stream);
}

// Does everything that can be done without time passing. True when it passed a record or a wait.
bool Timeline::settle() {
  bool any = false;
  bool changed = true;
  while (changed) {
    changed = false;
    for (const std::size_t index : active_) {
      Stream& stream = streams_[index];
      if (stream.running) continue;
      changed |= pass_instant_tasks(stream);
      if (stream.empty() || stream.front().kind != Task::Kind::kKernel) continue;
      const SimTime start = start_of(stream, stream.front());
      if (start <= now_) begin(stream, start);
    }
    any |= changed;
  }
  unlist_empty();
  return any;
}

void Timeline::unlist_empty() {
  std::erase_if(active_, [&](std::size_t index) {
    if (!streams_[index].empty()) return false;
    streams_[index].listed = false;
    return true;
  });
}

// Shares each device among the kernels that run on it now.
void Timeline::set_speeds() {
  speeds_stale_ = false;
  running_.clear();
  for (const std::size_t index : active_) {
    if (streams_[index].running) running_.push_back(index);
  }
  // Streams are numbered device by device, so sorting puts a device's kernels side by side.
  std::ranges::sort(running_);
  for (std::size_t first = 0; first < running_.size();) {
    std::size_t last = first;
    const int device = streams_[running_[first]].id.device;
    while (last < running_.size() && streams_[running_[last]].id.device == device) ++last;
    share_device(std::span(running_).subspan(first, last - first));
    first = last;
  }
}

void Timeline::share_device(std::span<const std::size_t> running) {
  runners_.clear();
  for (const std::size_t index : running) {
    Stream& stream = streams_[index];
    if (!stream.use_known) {
      stream.runner.use = use_of(stream.front());
      stream.use_known = true;
    }
    runners_.push_back(stream.runner);
  }
  if (running.size() == 1) {
    runners_.front().speed = kOne;
  } else {
    share(runners_);
  }
  for (std::size_t i = 0; i < running.size(); ++i) {
    Stream& stream = streams_[running[i]];
    stream.runner.speed = runners_[i].speed;
    stream.ends = end_at(now_, stream.left, runners_[i].speed);
  }
}

SimTime Timeline::next_change() const {
  SimTime next = kNever;
  for (const std::size_t index : active_) {
    const Stream& stream = streams_[index];
    const Task& task = stream.tasks[stream.head];
    if (stream.running) {
      next = std::min(next, stream.ends);
    } else if (task.kind == Task::Kind::kKernel) {
      next = std::min(next, start_of(stream, task));
    }
  }
  return next;
}

void Timeline::run_all_until(SimTime at) {
  const SimTime passed = at - now_;
  std::bitset<kMaxDevices> counted;  // streams of one device count its time once
  for (const std::size_t index : active_) {
    Stream& stream = streams_[index];
    if (!stream.running) continue;
    const auto device = static_cast<std::size_t>(stream.id.device);
    if (!counted[device]) totals_[device].busy += passed;
    counted[device] = true;
    if (stream.ends <= at) {
      end(stream, at);
    } else {
      stream.left -= static_cast<unsigned __int128>(passed.count()) * stream.runner.speed;
    }
  }
  now_ = at;
}

// The only stream with work owns the card: no shares to compute. False when `limit` has come.
bool Timeline::step_alone(Stream& stream, SimTime limit) {
  if (pass_instant_tasks(stream)) {
    unlist_empty();
    return true;
  }
  if (stream.front().kind != Task::Kind::kKernel) return false;
  if (!stream.running) {
    const SimTime start = start_of(stream, stream.front());
    if (start > limit) {
      now_ = std::max(now_, limit);
      return false;
    }
    now_ = start;
    begin(stream, start);
  }
  SimTime& busy = totals_[static_cast<std::size_t>(stream.id.device)].busy;
  const SimTime ends = end_at(now_, stream.left, kOne);
  const SimTime until = std::max(now_, std::min(ends, limit));
  busy += until - now_;
  if (ends <= limit) {
    end(stream, ends);
  } else {
    stream.left -= to_left(until - now_);
  }
  now_ = until;
  speeds_stale_ = true;
  if (stream.empty()) unlist_empty();
  return ends <= limit;
}

// Goes on to the next change, at most to `limit`. False when nothing changes any more before it.
bool Timeline::step(SimTime limit) {
  if (active_.empty()) return false;
  if (active_.size() == 1) return step_alone(streams_[active_.front()], limit);
  if (settle()) return true;
  if (speeds_stale_) set_speeds();
  const SimTime next = next_change();
  const SimTime until = std::max(now_, std::min(next, limit));
  if (until == kNever) return false;
  run_all_until(until);
  settle();
  return next <= limit;
}

}  // namespace npu_sim::runtime
