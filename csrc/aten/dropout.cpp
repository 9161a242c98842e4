// native_dropout draws from the card's generator itself. The CPU's kernel knows only the CPU's
// default generator; lending that the card's state would mix with what other threads draw.
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>
#include <torch/library.h>

#include <array>
#include <tuple>

#include "aten/describe/registry.h"
#include "aten/route/host_call.h"
#include "aten/route/host_views.h"
#include "aten/route/route.h"
#include "backend/generator.h"
#include "runtime/launch.h"

namespace npu_sim::aten {
namespace {

using at::Tensor;
using Pair = std::tuple<Tensor, Tensor>;  // the result, and where it kept its input

// The CPU's steps in the CPU's order, so that one seed gives the same bits.
Pair drop(const Tensor& self, double p, const at::Generator& generator) {
  const double kept = 1.0 - p;
  const double scale = kept == 0.0 ? 0.0 : 1.0 / kept;
  Tensor mask = at::empty_like(self, self.options().dtype(at::kBool));
  mask.bernoulli_(kept, generator);
  return {self.mul(mask).mul_(scale), mask};
}

Pair native_dropout(const Tensor& self, double p, std::optional<bool> train) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::native_dropout", "");
  if (self.numel() == 0 || !train.value_or(true)) {
    torch::jit::Stack stack{self, p, train};
    route(op, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), &stack);
    return {stack[0].toTensor(), stack[1].toTensor()};
  }
  const runtime::LaunchSite site{"aten::native_dropout",
                                 runtime::current_stream(self.device().index())};
  HostViews views(site.stream);
  const Tensor host = views.to_host(self);
  const at::Generator& generator =
      backend::host_generator(backend::default_generator(self.device().index()));
  auto [kept, mask] = host_call(site.stream, [&] { return drop(host, p, generator); });
  Pair out(views.to_npu(std::move(kept)), views.to_npu(std::move(mask)));
  static const Describer describer = describer_of({"aten::native_dropout", ""});
  const std::array<c10::IValue, 3> arguments = {self, p, train};
  const std::array<c10::IValue, 2> results = {std::get<0>(out), std::get<1>(out)};
  runtime::record(site, describer({.arguments = arguments, .results = results}));
  return out;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) { m.impl("native_dropout", &native_dropout); }

}  // namespace
}  // namespace npu_sim::aten
