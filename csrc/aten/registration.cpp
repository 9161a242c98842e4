// Puts the route behind every operator the CPU has a kernel for.
//
// A backend fallback alone is not enough: torch prefers an operator's composite kernel to a
// fallback, and the CPU's single kernel is both faster and what the card would launch.
#include "aten/registration.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "aten/describe/registry.h"
#include "aten/route/route.h"

namespace npu_sim::aten {
namespace {

using c10::DispatchKey;

struct KeyPair {
  DispatchKey host;
  DispatchKey npu;
};

constexpr std::array kKeys = {
    KeyPair{DispatchKey::CPU, DispatchKey::PrivateUse1},
    KeyPair{DispatchKey::SparseCPU, DispatchKey::SparsePrivateUse1},
    KeyPair{DispatchKey::SparseCsrCPU, DispatchKey::SparseCsrPrivateUse1},
    KeyPair{DispatchKey::QuantizedCPU, DispatchKey::QuantizedPrivateUse1},
    KeyPair{DispatchKey::NestedTensorCPU, DispatchKey::NestedTensorPrivateUse1},
};

// Operators that torch composes of others and that the card runs as one kernel. The compositions of
// kaiser_window and _batch_norm_no_update end in kernels that have no entry for this device.
constexpr std::array<std::string_view, 47> kOneKernelOnTheCard = {
    "addr",
    "convolution",
    "conj_physical_",
    "convolution_backward",
    "cummax",
    "cummin",
    "embedding",
    "_grouped_mm",
    "index_fill",
    "index_fill_",
    "index_put",
    "index_put_",
    "_index_put_impl_",
    "kaiser_window",
    "kthvalue",
    "logcumsumexp",
    "logical_and",
    "logical_and_",
    "logical_not",
    "logical_not_",
    "logical_or",
    "logical_or_",
    "logical_xor",
    "logical_xor_",
    "masked_fill",
    "masked_scatter",
    "median",
    "mode",
    "nan_to_num",
    "nan_to_num_",
    "nanmedian",
    "norm",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    "_safe_softmax",
    "smooth_l1_loss_backward",
    "huber_loss_backward",
    "soft_margin_loss",
    "soft_margin_loss_backward",
    "sort",
    "stack",
    "binary_cross_entropy_with_logits",
    "constant_pad_nd",
    "rrelu_with_noise_backward",
    "mvlgamma",
    "polar",
    "repeat",
};

bool has_kernel(const c10::OperatorHandle& op, DispatchKey key) {
  return op.hasKernelForDispatchKey(key);
}

bool is_composite(const c10::OperatorHandle& op) {
  return has_kernel(op, DispatchKey::CompositeExplicitAutograd) ||
         has_kernel(op, DispatchKey::CompositeExplicitAutogradNonFunctional) ||
         has_kernel(op, DispatchKey::CompositeImplicitAutograd);
}

bool runs_as_one_kernel(const c10::OperatorName& name) {
  const std::string_view op = std::string_view(name.name).substr(std::string_view("aten::").size());
  return op.starts_with("_foreach_") || op.starts_with("_fused_adam") ||
         op.starts_with("_fused_sgd") || op.starts_with("_fused_adagrad") ||
         std::ranges::find(kOneKernelOnTheCard, op) != kOneKernelOnTheCard.end();
}

bool needs_own_entry(const c10::OperatorHandle& op, KeyPair keys) {
  if (has_kernel(op, keys.npu)) return false;  // a typed kernel of ours
  if (has_kernel(op, keys.host) && is_composite(op)) return true;
  return keys.host == DispatchKey::CPU && runs_as_one_kernel(op.operator_name());
}

void register_key(torch::Library& library, KeyPair keys) {
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (!name.name.starts_with("aten::")) continue;
    const auto op = c10::Dispatcher::singleton().findSchema(name);
    if (!op.has_value() || !needs_own_entry(*op, keys)) continue;
    const std::string full =
        name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
    library.impl(full.c_str(),
                 torch::dispatch(keys.npu, torch::CppFunction::makeFromBoxedFunction<&route>()));
  }
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&route>());
}
TORCH_LIBRARY_IMPL(_, SparsePrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&route>());
}
TORCH_LIBRARY_IMPL(_, SparseCsrPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&route>());
}
TORCH_LIBRARY_IMPL(_, QuantizedPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&route>());
}
TORCH_LIBRARY_IMPL(_, NestedTensorPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&route>());
}

}  // namespace

void register_route() {
  static const bool once = [] {
    // Alive as long as the process: unregistering at exit would race with torch's own teardown.
    auto* const library =
        new torch::Library(torch::Library::IMPL, "aten", std::nullopt, __FILE__, __LINE__);
    for (const KeyPair keys : kKeys) register_key(*library, keys);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace npu_sim::aten
