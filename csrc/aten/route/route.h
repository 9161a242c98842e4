// The universal route: any operator on npu tensors runs as its CPU kernel over the same bytes.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/stack.h>

namespace npu_sim::aten {

// The boxed kernel behind every ATen operator that has no typed kernel of its own. `keys` are those
// of the call; the same operator runs again with the npu exchanged for the CPU.
void route(const c10::OperatorHandle& handle, c10::DispatchKeySet keys, torch::jit::Stack* stack);

}  // namespace npu_sim::aten
