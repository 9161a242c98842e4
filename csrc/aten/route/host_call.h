// Runs CPU code for npu tensors: results come from the card's memory, and nothing above the backend
// (autograd, autocast, view tracking) sees the host views a second time; nor does a profiler, to
// which the operator would seem to call itself.
#pragma once

#include <ATen/record_function.h>
#include <c10/core/DispatchKeySet.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <optional>
#include <utility>

#include "backend/kernel_memory.h"
#include "runtime/stream.h"

namespace npu_sim::aten {

template <class Compute>
decltype(auto) host_call(runtime::StreamId stream, Compute&& compute) {
  constexpr c10::DispatchKeySet kAboveBackend =
      c10::autograd_dispatch_keyset_with_ADInplaceOrView | c10::autocast_dispatch_keyset;
  const backend::KernelMemoryScope memory(stream);
  const c10::impl::ExcludeDispatchKeyGuard below(kAboveBackend);
  std::optional<at::DisableRecordFunctionGuard> unseen;  // copies vectors: only if somebody looks
  if (C10_UNLIKELY(at::hasCallbacks())) unseen.emplace();
  return std::forward<Compute>(compute)();
}

}  // namespace npu_sim::aten
