#include "aten/route/route.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include "aten/route/devices.h"
#include "aten/route/host_call.h"
#include "aten/route/host_views.h"
#include "aten/route/operator.h"
#include "aten/route/random_scope.h"
#include "aten/route/tensor_keys.h"
#include "aten/route/touched.h"
#include "backend/device_type.h"
#include "backend/generator.h"
#include "backend/kernel_memory.h"
#include "backend/process.h"
#include "runtime/launch.h"

namespace npu_sim::aten {
namespace {

using c10::IValue;
using torch::jit::Stack;

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
    const at::Generator& npu =
        value.isNone() ? backend::default_generator(device) : value.toGenerator();
    return IValue(backend::host_generator(npu));
  }
  if (value.isNone()) return value;
  switch (kind) {
    case ArgumentKind::kTensor: return views.to_host(value.toTensor());
    case ArgumentKind::kTensorList: return list_to_host(value.toTensorList(), views);
    case ArgumentKind::kOptionalTensorList: return list_to_host(optional_tensors(value), views);
    case ArgumentKind::kDevice:
      return value.toDevice().type() == backend::kNpu ? IValue(c10::Device(c10::kCPU)) : value;
    default: return value;
  }
}

void follow(const IValue& value, const Operator& op, ArgumentKind kind, HostViews& views) {
  if (kind == ArgumentKind::kTensor && value.isTensor()) {
    views.follow(value.toTensor());
  } else if (kind == ArgumentKind::kTensorList) {
    for (const at::Tensor& tensor : value.toTensorList()) {
      views.follow(tensor);
      if (op.counts_versions) tensor.unsafeGetTensorImpl()->bump_version();
    }
  }
}

void follow_written(const Operator& op, c10::ArrayRef<IValue> arguments, HostViews& views) {
  for (std::size_t i = 0; i < op.arguments.size(); ++i) {
    if (op.arguments[i].written) follow(arguments[i], op, op.arguments[i].kind, views);
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

// Redispatching, not calling: the profiler and other observers have seen this operator already.
// Where results go.
enum class Target : std::uint8_t { kNpu, kHost };

Target target_of(const Operator& op, c10::ArrayRef<IValue> arguments) {
  if (C10_LIKELY(op.device_argument < 0)) return Target::kNpu;
  const IValue& device = arguments[static_cast<std::size_t>(op.device_argument)];
  return device.isNone() || device.toDevice().type() == backend::kNpu ? Target::kNpu
                                                                      : Target::kHost;
}

void call_host(const c10::OperatorHandle& handle, c10::DispatchKeySet keys, const Operator& op,
               runtime::StreamId stream, Target target, Stack* stack) {
  std::optional<RandomScope> random;
  if (C10_UNLIKELY(op.draws_default_random))
    random.emplace(static_cast<c10::DeviceIndex>(stream.device));
  host_call(stream, [&] {
    // Inside the card's memory scope, so that both end in order when the kernel throws.
    std::optional<backend::HostMemoryScope> host_results;
    if (C10_UNLIKELY(target == Target::kHost)) host_results.emplace();
    handle.redispatchBoxed(host_keys(keys), stack);
  });
}

bool has_mask(const Operator& op, c10::ArrayRef<IValue> arguments) {
  for (std::size_t i = 0; i < op.arguments.size(); ++i) {
    if (op.arguments[i].kind != ArgumentKind::kOptionalTensorList || arguments[i].isNone())
      continue;
    for (const std::optional<at::Tensor>& index : optional_tensors(arguments[i])) {
      if (index.has_value() && index->defined() &&
          (index->scalar_type() == at::kBool || index->scalar_type() == at::kByte)) {
        return true;
      }
    }
  }
  return false;
}

template <class Visit>
void visit_tensors(const IValue& value, ArgumentKind kind, Visit visit) {
  if (value.isNone()) return;
  if (kind == ArgumentKind::kTensor) {
    visit(value.toTensor());
  } else if (kind == ArgumentKind::kTensorList) {
    for (const IValue& item : value.toListRef()) visit(item.toTensor());
  } else if (kind == ArgumentKind::kOptionalTensorList) {
    for (const IValue& item : value.toListRef()) {
      if (item.isTensor()) visit(item.toTensor());
    }
  }
}

Touched touched_by(const Operator& op, const Call& call) {
  Touched touched;
  for (std::size_t i = 0; i < op.arguments.size(); ++i) {
    const Argument& argument = op.arguments[i];
    visit_tensors(call.arguments[i], argument.kind, [&](const at::Tensor& tensor) {
      if (!argument.only_written) touched.reads(tensor);
      if (argument.written) touched.writes(tensor);
    });
  }
  for (const IValue& result : call.results) {
    if (result.isTensor()) touched.writes(result.toTensor());
    if (result.isTensorList()) {
      for (const IValue& item : result.toListRef()) touched.writes(item.toTensor());
    }
  }
  return touched;
}

// Most calls are one kernel; a convolution backward is one for each gradient that was wanted.
void record_kernels(const Operator& op, bool nested, runtime::StreamId stream, const Call& call) {
  const runtime::LaunchSite site{op.name, stream};
  const model::Work first =
      C10_UNLIKELY(nested) ? op.description.nested(call) : op.description.describer(call);
  const bool launches = !std::holds_alternative<model::NoWork>(first);
  if (!launches && op.description.rest.empty()) return runtime::record(site, first);
  const Touched touched = touched_by(op, call);
  runtime::record(site, first, touched.footprint());
  if (C10_UNLIKELY(nested)) return;
  for (const Describer further : op.description.rest) {
    const model::Work work = further(call);
    if (!std::holds_alternative<model::NoWork>(work)) {
      runtime::record(site, work, touched.footprint());
    }
  }
  // Host work has been waited for; no work is a question that the host answers.
  const bool queued = launches && !std::holds_alternative<model::HostWork>(first);
  const bool waits = op.answers_host && (!op.indexes || has_mask(op, call.arguments));
  if (C10_UNLIKELY(waits) && queued) runtime::synchronize(stream);
}

}  // namespace

void route(const c10::OperatorHandle& handle, c10::DispatchKeySet keys, Stack* stack) {
  backend::check_process();  // before any lock that a thread may have held while this was forked
  const Operator& op = operator_of(handle);
  const std::size_t arity = op.arguments.size();
  const std::size_t first = stack->size() - arity;
  const c10::Device device =
      common_device(op, c10::ArrayRef<IValue>(*stack).slice(first, arity), handle.schema());
  const runtime::StreamId stream = runtime::current_stream(device.index());
  HostViews views(
      stream, {.keep_requires_grad = op.asks_requires_grad, .one_view_each = op.writes_tensors});

  // The npu arguments stay below, so that they live until the results are built.
  stack->reserve(first + 2 * arity + op.results);
  for (std::size_t i = 0; i < arity; ++i) {
    stack->push_back(to_host((*stack)[first + i], op.arguments[i].kind, device.index(), views));
  }
  const Target target = target_of(op, c10::ArrayRef<IValue>(*stack).slice(first, arity));
  try {
    call_host(handle, keys, op, stream, target, stack);
  } catch (...) {
    views.follow_failed();
    throw;
  }

  const std::size_t returned = first + arity;
  follow_written(op, c10::ArrayRef<IValue>(*stack).slice(first, arity), views);
  for (std::size_t i = returned; i < stack->size() && target == Target::kNpu; ++i)
    result_to_npu((*stack)[i], views);

  const c10::ArrayRef<IValue> all(*stack);
  const Call call{.arguments = all.slice(first, arity), .results = all.slice(returned)};
  record_kernels(op, keys.has(c10::DispatchKey::NestedTensorPrivateUse1), stream, call);
  stack->erase(stack->begin() + static_cast<std::ptrdiff_t>(first),
               stack->begin() + static_cast<std::ptrdiff_t>(returned));
}

}  // namespace npu_sim::aten
