// Moves a tensor between the CPU and the npu by its dispatch keys alone.
#pragma once

#include <c10/core/TensorImpl.h>

namespace npu_sim::aten {

// `keys` with the backend exchanged: CPU -> PrivateUse1, autocast included.
[[nodiscard]] c10::DispatchKeySet npu_keys(c10::DispatchKeySet keys);
// The reverse.
[[nodiscard]] c10::DispatchKeySet host_keys(c10::DispatchKeySet keys);

// Turns a tensor nobody else holds into an npu tensor in place; its storage must be exchanged too.
void become_npu(c10::TensorImpl& tensor, c10::Device device);

}  // namespace npu_sim::aten
