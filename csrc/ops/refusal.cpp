#include "ops/refusal.h"

#include <c10/util/Exception.h>

#include <string>

#include "ops/contract.h"
#include "runtime/device.h"

namespace npu_sim::ops {
namespace {

std::string name_in_namespace(const c10::OperatorName& name) {
  const std::string base = name.name.substr(name.name.find("::") + 2);
  return name.overload_name.empty() ? base : base + "." + name.overload_name;
}

}  // namespace

void refuse(const c10::OperatorHandle& handle, c10::DispatchKeySet /*keys*/,
            torch::jit::Stack* /*stack*/) {
  const std::string name = name_in_namespace(handle.operator_name());
  const std::string& soc = runtime::chip().soc_name;
  TORCH_CHECK(!(is_lacking(name) && soc.starts_with("Ascend950")), name,
              ": expected an operator with a kernel on this card, got one that ", soc,
              " lacks; torch_npu's documentation names what replaces it "
              "(ERR01007 OPS feature not supported)");
  TORCH_CHECK_VALUE(!handle.hasKernelForDispatchKey(c10::DispatchKey::PrivateUse1), name,
                    ": expected tensors on npu, got none; move them there with .npu() "
                    "(ERR01002 OPS invalid type)");
  TORCH_CHECK_NOT_IMPLEMENTED(false, "torch_npu.", name,
                              ": not built in torch_npu_sim yet; docs/operators.md lists "
                              "what is, and what to use meanwhile is torch's own operators");
}

}  // namespace npu_sim::ops
