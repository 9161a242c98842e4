// Operators that clients of DeepSeek-V4 get from packages besides torch_npu: `torch.ops.custom` of
// custom_ops (hicann/cann-recipes-infer@fbc225d) and `torch.ops.cann_ops_transformer` of the
// package of that name. Neither namespace exists before `enable_extension`.
#pragma once

#include <torch/library.h>

#include <span>
#include <string_view>

namespace npu_sim::ops {

// Registers kernels in a namespace whose operators are defined.
using AddKernels = void (*)(torch::Library& library);

// Kernels that `enable_extension` adds. Called while the library loads; returns true, so that a
// constant can be made of it.
bool extend(const char* name_space, AddKernels add);

// Defines the operators and adds their kernels; a second call does nothing.
void enable_extension();

// Schemas with their namespaces, in the order of their names.
[[nodiscard]] std::span<const std::string_view> extension_schemas();

}  // namespace npu_sim::ops
