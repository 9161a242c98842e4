// Costs of works seen before.
#pragma once

#include "model/cost/kernel_time.h"
#include "model/work/work.h"

namespace npu_sim::runtime {

// model::cost of `work` on the present chip, memoized in a table of the calling thread. The
// reference holds until the thread's next call.
[[nodiscard]] const model::KernelTime& cost_of(const model::Work& work);

}  // namespace npu_sim::runtime
