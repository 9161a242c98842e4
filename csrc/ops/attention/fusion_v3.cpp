// npu_fusion_attention_v3 and its kin, which an Ascend 950 lacks.
// Source: op-plugin@517f2e7d FlashAttentionKernelNpuOpApi.cpp, "Ascend950 not support".
#include <c10/util/Exception.h>
#include <torch/library.h>

namespace npu_sim::ops {
namespace {

void refuse_on_950(const c10::OperatorHandle& handle, torch::jit::Stack* /*stack*/) {
  const std::string& name = handle.operator_name().name;
  TORCH_CHECK(
      false, name.substr(name.find("::") + 2),
      ": expected a card with this kernel, got an Ascend 950, which lacks it; use "
      "npu_fusion_attention or npu_fusion_attention_v2 (ERR01007 OPS feature not supported)");
}

TORCH_LIBRARY_FRAGMENT(npu, m) {
  for (const char* const name :
       {"npu_fusion_attention_v3", "npu_fusion_attention_v3.out", "npu_fusion_attention_grad_v3",
        "npu_fusion_attention_grad_v3.out", "_npu_fusion_attention_v3_get_max_workspace",
        "_npu_fusion_attention_grad_v3_get_max_workspace", "_npu_fusion_attention_v3_infer_output",
        "_npu_fusion_attention_grad_v3_infer_output"}) {
    for (const c10::DispatchKey key :
         {c10::DispatchKey::PrivateUse1, c10::DispatchKey::CPU, c10::DispatchKey::Meta}) {
      m.impl(name,
             torch::dispatch(key, torch::CppFunction::makeFromBoxedFunction<&refuse_on_950>()));
    }
  }
}

}  // namespace
}  // namespace npu_sim::ops
