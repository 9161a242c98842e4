#include "aten/route/route.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "aten/route/devices.h"
#include "aten/route/host_views.h"
#include "aten/route/operator.h"
#include "aten/route/random_scope.h"
#include "backend/device_type.h"
#include "backend/generator.h"
#include "backend/kernel_memory.h"
#include "runtime/launch.h"

namespace npu_sim::aten {
namespace {

using c10::IValue;
using torch::jit::Stack;

// CPU kernels must not meet autograd, autocast or view tracking again: npu tensors already did.
constexpr c10::DispatchKeySet kAboveBackend =
    c10::autograd_dispatch_keyset_with_ADInplaceOrView | c10::autocast_dispatch_keyset;

template <class Element>
IValue list_to_host(const c10::List<Element>& list, HostViews& views) {
  c10::List<Element> host;
  host.reserve(list.size());
  for (const Element& element : list) {
    if constexpr (std::is_same_v<Element, at::Tensor>) {
      host.push_back(views.to_host(element));
    } else {
      host.push_back(element.has_value() ? Element(views.to_host(*element)) : element);
    }
  }
  return IValue(std::move(host));
}

IValue to_host(const IValue& value, ArgumentKind kind, c10::DeviceIndex device, HostViews& views) {
  if (kind == ArgumentKind::kGenerator) {
    const at::Generator& npu = value.isNone() ? backend::default_generator(device) : value.toGenerator();
    return npu.device().type() == backend::kNpu ? IValue(backend::host_generator(npu)) : value;
  }
  if (value.isNone()) return value;
  switch (kind) {
    case ArgumentKind::kTensor:
      return views.to_host(value.toTensor());
    case ArgumentKind::kTensorList:
      return list_to_host(value.toTensorList(), views);
    case ArgumentKind::kOptionalTensorList:
      return list_to_host(value.toOptionalTensorList(), views);
    case ArgumentKind::kDevice:
      return value.toDevice().type() == backend::kNpu ? IValue(c10::Device(c10::kCPU)) : value;
    default:
      return value;
  }
}

void follow(const IValue& value, ArgumentKind kind, HostViews& views) {
  if (kind == ArgumentKind::kTensor && value.isTensor()) {
    views.follow(value.toTensor());
  } else if (kind == ArgumentKind::kTensorList) {
    for (const at::Tensor& tensor : value.toTensorList()) views.follow(tensor);
  }
}

void result_to_npu(IValue& value, HostViews& views) {
  if (value.isTensor()) {
    value = views.to_npu(std::move(value).toTensor());
  } else if (value.isTensorList()) {
    c10::List<at::Tensor> npu;
    for (const at::Tensor& tensor : value.toTensorVector()) npu.push_back(views.to_npu(tensor));
    value = std::move(npu);
  }
}

void call_host(const c10::OperatorHandle& handle, const Operator& op, runtime::StreamId stream, Stack* stack) {
  const backend::KernelMemoryScope memory(stream);
  const c10::impl::ExcludeDispatchKeyGuard below(kAboveBackend);
  if (C10_UNLIKELY(op.draws_default_random)) {
    const RandomScope random(static_cast<c10::DeviceIndex>(stream.device));
    handle.callBoxed(stack);
  } else {
    handle.callBoxed(stack);
  }
}

}  // namespace

void route(const c10::OperatorHandle& handle, Stack* stack) {
  const Operator& op = operator_of(handle);
  const std::size_t arity = op.arguments.size();
  const std::size_t first = stack->size() - arity;
  const c10::Device device = common_device(op, c10::ArrayRef<IValue>(*stack).slice(first, arity), handle.schema());
  const runtime::StreamId stream = runtime::current_stream(device.index());
  HostViews views(stream);

  // The npu arguments stay below, so that they live until the results are built.
  stack->reserve(first + 2 * arity + op.results);
  for (std::size_t i = 0; i < arity; ++i) {
    stack->push_back(to_host((*stack)[first + i], op.arguments[i].kind, device.index(), views));
  }
  call_host(handle, op, stream, stack);

  const std::size_t returned = first + arity;
  for (std::size_t i = 0; i < arity; ++i) {
    if (op.arguments[i].written) follow((*stack)[first + i], op.arguments[i].kind, views);
  }
  for (std::size_t i = returned; i < stack->size(); ++i) result_to_npu((*stack)[i], views);

  const c10::ArrayRef<IValue> all(*stack);
  runtime::record({op.name, stream}, op.description.describer(
      {.arguments = all.slice(first, arity), .results = all.slice(returned)}));
  stack->erase(stack->begin() + static_cast<std::ptrdiff_t>(first),
               stack->begin() + static_cast<std::ptrdiff_t>(returned));
}

}  // namespace npu_sim::aten
