// Streams: ordered queues of kernels on one simulated device.
#pragma once

#include <compare>
#include <cstdint>

#include "base/units.h"

namespace npu_sim::runtime {

// Names a stream: plain, copyable, hashable. index 0 is the device's default stream; pool streams
// follow. The same (device, index) always means the same stream.
struct StreamId {
  std::int32_t device = 0;
  std::int32_t index = 0;

  auto operator<=>(const StreamId&) const = default;
};

inline constexpr int kStreamsPerPool =
    32;  // as torch.cuda: then the pool's streams are handed out again

// torch's convention: priority 0 is normal, negative is urgent (-1 is the highest here).
inline constexpr int kLowestPriority = 0;
inline constexpr int kHighestPriority = -1;

// The next stream of the device's pool for `priority` (round robin).
[[nodiscard]] StreamId stream_from_pool(int device, int priority);
[[nodiscard]] int priority_of(StreamId stream);

// The calling thread's current stream on `device`; default stream until set.
[[nodiscard]] StreamId current_stream(int device);
void set_current_stream(StreamId stream);

// True when everything queued on the stream has ended by the host's present simulated time.
[[nodiscard]] bool query(StreamId stream);

// The host waits: its clock advances to the end of everything queued on the stream.
void synchronize(StreamId stream);

}  // namespace npu_sim::runtime
