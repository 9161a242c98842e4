#include "model/core/fixpipe.h"

#include <algorithm>

namespace npu_sim::model {

double drain_seconds(double elements, base::Format out, const ChipSpec& chip) {
  constexpr double kBitsPerByte = 8;
  const CubeCoreSpec& core = chip.cube_core;
  const double bytes = elements * base::bits(out) / kBitsPerByte;
  const double cycles =
      std::max(elements / core.fixpipe_elements_per_cycle, bytes / core.fixpipe_bytes_per_cycle);
  return (cycles + core.fixpipe_cycles) / chip.clock_hz;
}

}  // namespace npu_sim::model
