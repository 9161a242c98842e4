// Events: points in a stream's simulated time.
#pragma once

#include <cstdint>
#include <memory>

#include "base/units.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {

// Copyable handle; copies name the same event. Recording again moves the point.
class Event {
 public:
  explicit Event(bool timing);

  // Queues the event on `stream` behind everything launched so far.
  void record(StreamId stream);
  // Work launched on `stream` from now on starts no earlier than the recorded point.
  // An event that was never recorded does not block.
  void block(StreamId stream) const;
  // True when never recorded, or reached by the host's present simulated time.
  [[nodiscard]] bool query() const;
  // The host waits for the recorded point.
  void synchronize() const;
  [[nodiscard]] bool recorded() const;
  [[nodiscard]] bool timing() const;
  [[nodiscard]] int device() const;  // of the last record; -1 before

  // Simulated time between the two points. Throws base::ValueError if either is unrecorded, lacks
  // timing, or is not reached yet by the host's clock (as torch.cuda does), or devices differ.
  [[nodiscard]] static base::SimTime elapsed(const Event& start, const Event& end);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace npu_sim::runtime
