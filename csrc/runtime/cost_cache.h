// Costs of works seen before.
#pragma once

#include "model/chip/chip_spec.h"
#include "model/cost/kernel_time.h"
#include "model/work/work.h"

namespace npu_sim::runtime {

// model::cost of `work` on `chip`, memoized in a table of the calling thread. The chip is known by
// its address, so it must live as long as the process, as chip() and chip_of() do. The reference
// holds until the thread's next call.
[[nodiscard]] const model::KernelTime& cost_of(const model::Work& work,
                                               const model::ChipSpec& chip);

}  // namespace npu_sim::runtime
