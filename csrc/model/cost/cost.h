// Work + ChipSpec -> KernelTime. Pure: same arguments, same answer; no state, no clock.
#pragma once

#include "model/chip/chip_spec.h"
#include "model/cost/kernel_time.h"
#include "model/work/work.h"

namespace npu_sim::model {

// Roofline fidelity: launch floor + the slowest pipe, each pipe at its peak rate times a sourced
// efficiency. A new kind of Work without an overload of the estimator does not compile.
[[nodiscard]] KernelTime cost(const Work& work, const ChipSpec& chip);

}  // namespace npu_sim::model
