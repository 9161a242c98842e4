// Registers a kernel that reads its arguments by name from the stack, as operators of many
// arguments do.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <initializer_list>

#include "aten/route/route.h"
#include "backend/kernel_memory.h"

namespace npu_sim::ops {

// The arguments of `op`, the last ones of the stack.
[[nodiscard]] inline c10::ArrayRef<c10::IValue> arguments_on(const c10::OperatorHandle& op,
                                                             const torch::jit::Stack& stack) {
  const std::size_t arity = op.schema().arguments().size();
  return c10::ArrayRef<c10::IValue>(stack).slice(stack.size() - arity, arity);
}

// Replaces them by results.
inline void answer(const c10::OperatorHandle& op, torch::jit::Stack* stack,
                   std::initializer_list<at::Tensor> results) {
  torch::jit::drop(*stack, op.schema().arguments().size());
  for (const at::Tensor& result : results) stack->emplace_back(result);
}

using BoxedKernel = void (*)(const c10::OperatorHandle& op, torch::jit::Stack* stack);

template <BoxedKernel kernel>
void on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  // As host_kernel has it: a call with CPU tensors would only hide a missing .npu().
  TORCH_CHECK_VALUE(backend::works_for_npu(),
                    "expected tensors on npu, got CPU tensors; move them there with .npu() "
                    "(ERR01002 OPS invalid type)");
  kernel(op, stack);
}

// Values of `name` on CPU tensors and shapes on meta tensors, by the same code.
template <BoxedKernel kernel>
void boxed_kernel(torch::Library& library, const char* name) {
  using c10::DispatchKey;
  const auto boxed = [&](DispatchKey key, torch::CppFunction function) {
    library.impl(name, torch::dispatch(key, std::move(function)));
  };
  boxed(DispatchKey::CPU, torch::CppFunction::makeFromBoxedFunction<&on_host<kernel>>());
  boxed(DispatchKey::Meta, torch::CppFunction::makeFromBoxedFunction<kernel>());
  boxed(DispatchKey::PrivateUse1, torch::CppFunction::makeFromBoxedFunction<&aten::route>());
}

}  // namespace npu_sim::ops
