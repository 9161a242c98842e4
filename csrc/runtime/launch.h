// The seam where values and time meet: every kernel of every operator goes through launch().
#pragma once

#include <string_view>
#include <type_traits>
#include <utility>

#include "model/memory/l2.h"
#include "model/work/work.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {

// Who launches: `op` is the framework's name ("aten::add.Tensor"), kept by pointer, so it must
// outlive the process (a literal or an interned string; see intern()).
struct LaunchSite {
  std::string_view op;
  StreamId stream;
};

// A view of `text` that lives as long as the process.
[[nodiscard]] std::string_view intern(std::string_view text);

// Charges the host for one dispatched operator and queues `work` on the stream.
// `operands` are the addresses that the kernel reads and writes on the stream's device: what L2
// holds of them decides its time. Without them nothing hits, and lines of no known address come in.
// NoWork charges the host's view cost and queues nothing. HostWork makes the host wait for its
// end: the real card copies to the host, works there and copies back. Plans are memoized by Work.
void record(const LaunchSite& site, const model::Work& work, const model::Footprint& operands = {});

// As record(); when `blocking`, the host also waits for the end of the copy.
void record_copy(const LaunchSite& site, const model::CopyWork& work, bool blocking,
                 const model::Footprint& operands = {});

// Values first, then time: runs compute(), then queues what describe() says of the finished call.
// (Shapes of some results are known only after the computation.) describe() takes the result of
// compute(), or nothing when that is void.
template <class Compute, class Describe>
decltype(auto) launch(const LaunchSite& site, Compute&& compute, Describe&& describe) {
  if constexpr (std::is_void_v<decltype(compute())>) {
    std::forward<Compute>(compute)();
    record(site, describe());
  } else {
    decltype(auto) result = std::forward<Compute>(compute)();
    record(site, describe(result));
    return result;
  }
}

}  // namespace npu_sim::runtime
