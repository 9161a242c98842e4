#include "aten/route/devices.h"

#include <ATen/core/Tensor.h>

#include "backend/device_type.h"

namespace npu_sim::aten {
namespace {

struct Search {
  const Operator& op;
  const c10::FunctionSchema& schema;
  std::optional<c10::Device> found;
  std::optional<c10::Device> host;  // a CPU tensor that is no scalar
  std::size_t host_argument = 0;
  bool host_tensor = false;  // any CPU tensor
};

[[noreturn]] void refuse(const Search& search, c10::Device a, c10::Device b, std::size_t argument) {
  TORCH_CHECK(!search.op.indexes || argument != 0,
              "indices should be either on cpu or on the same device as the indexed tensor (", b,
              ")");
  TORCH_CHECK(false,
              "Expected all tensors to be on the same device, but found at least two devices, ", a,
              " and ", b, "! (when checking argument for argument ",
              search.schema.arguments()[argument].name(), " in method wrapper_NPU_",
              search.schema.name().substr(search.schema.name().find("::") + 2), ")");
}

void visit(const at::Tensor& tensor, std::size_t argument, Search& search) {
  if (!tensor.defined()) return;
  const c10::Device device = tensor.device();
  if (C10_LIKELY(device.type() == backend::kNpu)) {
    if (C10_LIKELY(search.found == device)) return;
    if (search.found.has_value()) refuse(search, *search.found, device, argument);
    search.found = device;
    return;
  }
  search.host_tensor = true;
  if (tensor.dim() == 0 || search.op.arguments[argument].may_be_host || search.host.has_value())
    return;
  search.host = device;
  search.host_argument = argument;
}

void visit(const c10::IValue& value, const Argument& argument, std::size_t index, Search& search) {
  if (argument.kind == ArgumentKind::kTensor) {
    if (value.isTensor()) visit(value.toTensor(), index, search);
  } else if (argument.kind == ArgumentKind::kTensorList) {
    if (!value.isTensorList()) return;
    for (const at::Tensor& tensor : value.toTensorList()) visit(tensor, index, search);
  } else if (argument.kind == ArgumentKind::kOptionalTensorList) {
    if (value.isNone()) return;
    for (const std::optional<at::Tensor>& tensor : optional_tensors(value)) {
      if (tensor.has_value()) visit(*tensor, index, search);
    }
  }
}

// An npu generator brings CPU tensors here.
c10::Device device_without_tensors(const Operator& op, c10::ArrayRef<c10::IValue> arguments,
                                   bool host_tensor) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].isNone()) continue;
    c10::Device device(c10::kCPU);
    if (op.arguments[i].kind == ArgumentKind::kDevice) device = arguments[i].toDevice();
    if (op.arguments[i].kind == ArgumentKind::kGenerator) {
      device = arguments[i].toGenerator().device();
      TORCH_CHECK(!host_tensor || device.is_cpu(),
                  "Expected a 'cpu' device type for generator but found '", device.type(), "'");
    }
    if (device.type() == backend::kNpu) return backend::npu_device(backend::index_of(device));
  }
  return backend::npu_device(runtime::current_device());
}

}  // namespace

c10::Device common_device(const Operator& op, c10::ArrayRef<c10::IValue> arguments,
                          const c10::FunctionSchema& schema) {
  Search search{.op = op, .schema = schema, .found = {}, .host = {}};
  for (std::size_t i = 0; i < arguments.size(); ++i)
    visit(arguments[i], op.arguments[i], i, search);
  if (C10_UNLIKELY(!search.found.has_value()))
    return device_without_tensors(op, arguments, search.host_tensor);
  if (C10_UNLIKELY(search.host.has_value())) {
    refuse(search, *search.found, *search.host, search.host_argument);
  }
  return *search.found;
}

}  // namespace npu_sim::aten
