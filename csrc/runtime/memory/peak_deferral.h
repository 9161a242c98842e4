// Peaks of memory as the real card would have them: without what the host's kernels allocate for
// themselves. While a thread holds a PeakDeferral, its allocations leave the peaks alone; what is
// still allocated when the outermost one ends counts from then on.
#pragma once

namespace npu_sim::runtime {

class PeakDeferral {
 public:
  PeakDeferral() noexcept;
  ~PeakDeferral();
  PeakDeferral(const PeakDeferral&) = delete;
  PeakDeferral& operator=(const PeakDeferral&) = delete;
};

// For the allocators: whether the calling thread defers peaks. If so, the device is noted and
// DeviceAllocator::raise_peaks() will be called on it.
[[nodiscard]] bool defers_peaks(int device) noexcept;

}  // namespace npu_sim::runtime
