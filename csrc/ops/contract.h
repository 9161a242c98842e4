// The operators of torch_npu: their schemas, to the letter, and which of them the 950 lacks.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <span>
#include <string_view>

namespace npu_sim::ops {

// Schemas of torch.ops.npu without the namespace, in the order of their names.
// Source: the public torch_npu 2.13.0 wheel.
[[nodiscard]] std::span<const std::string_view> schemas();

// "npu_add.out" of "npu_add.out(Tensor ...) -> Tensor".
[[nodiscard]] std::string_view name_of(std::string_view schema);

// Whether an Ascend 950 lacks the operator: one that exists only as an aclop kernel, since it runs
// aclnn kernels alone (IsAclnnOnly in Ascend/pytorch@9e73e708 NpuVariables.cpp), or whose aclnn
// kernel CANN has for other products only.
// Sources: `acl_op:` without `op_api:` in Ascend/op-plugin@517f2e7d op_plugin_functions.yaml
// (aclop_only.txt); the tables of products in CANN's documentation of the aclnn kernels that
// op-plugin's other operators call (lacking.txt).
[[nodiscard]] bool is_lacking(std::string_view name);

// Boxed kernel of ADInplaceOrView: written arguments count a version, so that autograd notices when
// one was needed.
void count_versions(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                    torch::jit::Stack* stack);

}  // namespace npu_sim::ops
