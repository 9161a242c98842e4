// The schedule of every simulated card: a discrete-event simulation that is resolved lazily.
//
// One schedule serves all devices, because a stream may wait for a point on another device. Not
// thread-safe: the device table guards it with one lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/stream.h"
#include "runtime/timeline/sharing.h"
#include "runtime/timeline/task.h"
#include "runtime/trace.h"

namespace npu_sim::runtime {

inline constexpr int kMaxDevices = 64;
// The default stream and three pools: normal, urgent, and without a task queue.
inline constexpr int kStreamsPerDevice = 1 + 3 * kStreamsPerPool;

class Timeline {
 public:
  explicit Timeline(int devices);

  // Queues a kernel that starts no earlier than `issued` and runs `time.duration` when alone.
  void launch(StreamId stream, const model::KernelTime& time, base::SimTime issued, Ticket ticket);
  // A point behind everything queued on the stream, no earlier than `issued`.
  [[nodiscard]] PointPtr record(StreamId stream, base::SimTime issued);
  // Later kernels of the stream start no earlier than `point`.
  void wait(StreamId stream, const PointPtr& point);

  // Resolves everything that happens up to `limit`. Safe for the host's present time, because no
  // later launch can start earlier.
  void advance_to(base::SimTime limit);
  // Resolves until the point's time is known, and returns it.
  base::SimTime finish(const PointPtr& point);
  // Resolves until at most `depth` tasks wait on the stream; the time that has come by then.
  base::SimTime drain_to(StreamId stream, std::size_t depth);

  [[nodiscard]] std::size_t pending(StreamId stream) const;
  // True when nothing waits on the stream and all of it has ended by `time` (already advanced to).
  [[nodiscard]] bool passed(StreamId stream, base::SimTime time) const;
  [[nodiscard]] const DeviceTotals& totals(int device) const;

  // Spans of traced kernels that ended since the last call.
  [[nodiscard]] std::vector<TracedSpan> take_spans();
  // Spans that the queued kernels would get if nothing else were launched; changes nothing.
  [[nodiscard]] std::vector<TracedSpan> preview() const;
  // Resolves every open point as passed and forgets all work, times and totals.
  void reset();

 private:
  struct Stream {
    StreamId id{};
    std::vector<Task> tasks;
    std::size_t head = 0;  // tasks before it are done
    base::SimTime ready{};
    bool listed = false;   // in active_
    bool running = false;  // the head is a kernel that has started
    base::SimTime started{};
    base::SimTime ends{};  // expected at the present speed; kNever when it stands still
    unsigned __int128 left =
        0;  // of the running kernel: picoseconds at full speed << kFractionBits
    Runner runner;
    bool use_known = false;  // runner.use is that of the running kernel

    [[nodiscard]] bool empty() const { return head == tasks.size(); }
    [[nodiscard]] Task& front() { return tasks[head]; }
  };

  [[nodiscard]] Stream& stream_of(StreamId id);
  [[nodiscard]] const Stream& stream_of(StreamId id) const;
  void push(StreamId id, Task task);
  void pop(Stream& stream);
  bool pass_instant_tasks(Stream& stream);
  [[nodiscard]] base::SimTime start_of(const Stream& stream, const Task& kernel) const;
  void begin(Stream& stream, base::SimTime start);
  void end(Stream& stream, base::SimTime at);
  bool settle();
  void unlist_empty();
  void set_speeds();
  void share_device(std::span<const std::size_t> running);
  [[nodiscard]] base::SimTime next_change() const;
  void run_all_until(base::SimTime at);
  bool step(base::SimTime limit);
  bool step_alone(Stream& stream, base::SimTime limit);
  template <class Reached>
  void run(base::SimTime limit, Reached reached);

  std::vector<Stream> streams_;       // device-major
  std::vector<std::size_t> active_;   // indices of streams with tasks
  std::vector<DeviceTotals> totals_;  // a device
  base::SimTime now_{};               // everything before it is resolved
  bool speeds_stale_ = false;
  std::vector<std::size_t> running_;  // scratch of set_speeds()
  std::vector<Runner> runners_;       // scratch of share_device()
  std::vector<TracedSpan> spans_;
  std::vector<PointPtr>* resolved_log_ = nullptr;  // set in a preview, to undo
};

}  // namespace npu_sim::runtime
