#include "runtime/memory/peak_deferral.h"

#include <bit>
#include <cstddef>
#include <cstdint>

#include "runtime/device_table.h"

namespace npu_sim::runtime {
namespace {

struct Deferred {
  int depth = 0;
  std::uint64_t devices = 0;  // bit i: device i has allocated since the outermost deferral began
};
static_assert(kMaxDevices <= 64);

constinit thread_local Deferred deferred;

}  // namespace

PeakDeferral::PeakDeferral() noexcept { ++deferred.depth; }

PeakDeferral::~PeakDeferral() {
  if (--deferred.depth > 0) return;
  while (deferred.devices != 0) {
    const int device = std::countr_zero(deferred.devices);
    deferred.devices &= deferred.devices - 1;
    device_table().allocators[static_cast<std::size_t>(device)]->raise_peaks();
  }
}

bool defers_peaks(int device) noexcept {
  if (deferred.depth == 0) return false;
  deferred.devices |= std::uint64_t{1} << device;
  return true;
}

}  // namespace npu_sim::runtime
