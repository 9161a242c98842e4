// What waits in a stream's queue: kernels, recorded points and waits for points.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/units.h"
#include "model/cost/kernel_time.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {

// The pipes that kernels on different streams compete for. The data movers inside a core (mte1,
// mte2, mte3, fixpipe) go with the core that a kernel holds: busy_of_shared() counts them there.
inline constexpr std::array kSharedPipes = {model::Pipe::kCube, model::Pipe::kVector,
                                            model::Pipe::kL2, model::Pipe::kHibl,
                                            model::Pipe::kLink};
using SharedBusy = std::array<base::SimTime, kSharedPipes.size()>;

// What a kernel takes of each shared pipe. A core is busy as long as its busiest pipe: mte1 and
// fixpipe hold cube cores, mte3 holds vector cores, and mte2 the cube cores if the cube works.
[[nodiscard]] SharedBusy busy_of_shared(const model::KernelTime& time);

// A place in a stream; its time is known once the schedule has come past it.
struct Point {
  StreamId stream{};
  base::SimTime time{};
  bool resolved = false;
};
using PointPtr = std::shared_ptr<Point>;

// Names a traced kernel; kUntraced when nobody asked for its times.
using Ticket = std::int64_t;
inline constexpr Ticket kUntraced = -1;

struct Task {
  enum class Kind : std::uint8_t { kKernel, kRecord, kWait };
  Kind kind = Kind::kKernel;
  Ticket ticket = kUntraced;
  base::SimTime issued{};    // host clock: nothing starts earlier
  base::SimTime duration{};  // alone on the card
  SharedBusy busy{};         // each at most `duration`
  PointPtr point;            // of a record or a wait
};

// Start and end of a traced kernel.
struct TracedSpan {
  Ticket ticket = kUntraced;
  base::SimTime start{};
  base::SimTime end{};
};

}  // namespace npu_sim::runtime
