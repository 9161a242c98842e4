// Streams on which the host does not run ahead.
//
// They model torch_npu's streams without a task queue: the host goes on from a launch when the
// stream has taken the kernel up, that is, when everything before it has ended. So at most one
// kernel of such a stream is in flight.
#pragma once

#include "runtime/stream.h"

namespace npu_sim::runtime {

// The next such stream of the device (round robin); its priority is normal.
[[nodiscard]] StreamId sync_launch_stream(int device);
[[nodiscard]] bool launches_in_step(StreamId stream);

}  // namespace npu_sim::runtime
