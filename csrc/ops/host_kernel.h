// An operator of torch_npu is a CPU kernel of its values behind the route of `aten`, and a
// description of its work. The route shows npu tensors to the kernel as CPU tensors over the same
// bytes, adopts the results and records the work; here is what registers the kernel.
#pragma once

#include <c10/util/Exception.h>
#include <torch/library.h>

#include "aten/route/route.h"
#include "backend/kernel_memory.h"

namespace npu_sim::ops {

template <auto compute>
struct HostKernel;

template <class Result, class... Arguments, Result (*compute)(Arguments...)>
struct HostKernel<compute> {
  static Result call(Arguments... arguments) {
    // On the real card a call with CPU tensors fails; here it would only hide a missing .npu().
    TORCH_CHECK_VALUE(backend::works_for_npu(),
                      "expected tensors on npu, got CPU tensors; move them there with .npu() "
                      "(ERR01002 OPS invalid type)");
    return compute(std::forward<Arguments>(arguments)...);
  }
};

// The values of `name`, on CPU tensors. An operator composed of ATen's operators answers shapes of
// meta tensors by the same code: pass it to `meta_kernel` too.
template <auto compute>
void host_kernel(torch::Library& library, const char* name) {
  library.impl(name, torch::dispatch(c10::DispatchKey::CPU, TORCH_FN(HostKernel<compute>::call)));
  library.impl(name, torch::dispatch(c10::DispatchKey::PrivateUse1,
                                     torch::CppFunction::makeFromBoxedFunction<&aten::route>()));
}

// Shapes and dtypes of the results of `name`, for FakeTensor and torch.compile.
template <auto compute>
void meta_kernel(torch::Library& library, const char* name) {
  library.impl(name, torch::dispatch(c10::DispatchKey::Meta, TORCH_FN(compute)));
}

// Both at once.
template <auto compute>
void composed_kernel(torch::Library& library, const char* name) {
  host_kernel<compute>(library, name);
  meta_kernel<compute>(library, name);
}

}  // namespace npu_sim::ops
