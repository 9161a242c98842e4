// Work + ChipSpec -> KernelTime. Pure: same arguments, same answer; no state, no clock.
#pragma once

#include "model/chip/chip_spec.h"
#include "model/cost/demand.h"
#include "model/cost/kernel_time.h"
#include "model/work/work.h"

namespace npu_sim::model {

// The time of a kernel alone on a card whose L2 is full of clean foreign lines, at the chip's
// fidelity. A new kind of Work without an overload of the estimator does not compile.
[[nodiscard]] KernelTime cost(const Work& work, const ChipSpec& chip);

// The plan of `work`, to settle with what L2 answers; NoWork demands nothing.
[[nodiscard]] Demand plan(const Work& work, const ChipSpec& chip);

}  // namespace npu_sim::model
