// FIXPIPE: takes finished tiles from L0C, converts them and writes them out.
#pragma once

#include "base/format.h"
#include "model/chip/chip_spec.h"

namespace npu_sim::model {

// Seconds one core drains a tile of `elements` results to `out`.
[[nodiscard]] double drain_seconds(double elements, base::Format out, const ChipSpec& chip);

}  // namespace npu_sim::model
