// Operators of torch.ops.npu, for kernels that are them in other words.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace npu_sim::ops {

// The operator `name` ("npu::npu_mhc_sinkhorn") without an overload.
template <class Signature>
[[nodiscard]] c10::TypedOperatorHandle<Signature> npu_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace npu_sim::ops
