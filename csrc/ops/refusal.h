// What a call of a torch_npu operator without a kernel for its arguments says.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace npu_sim::ops {

// Always throws:
// - an operator that an Ascend 950 lacks: RuntimeError with torch_npu's code ERR01007;
// - an operator that has a kernel here, called without a tensor on npu: ValueError;
// - one not built yet: NotImplementedError.
void refuse(const c10::OperatorHandle& handle, c10::DispatchKeySet keys, torch::jit::Stack* stack);

}  // namespace npu_sim::ops
