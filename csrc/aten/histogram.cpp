// histc: the card counts integers too, the CPU's kernel only floats.
#include <ATen/core/Tensor.h>
#include <ATen/ops/histc.h>
#include <torch/library.h>

#include <array>

#include "aten/describe/registry.h"
#include "aten/route/host_call.h"
#include "aten/route/host_views.h"
#include "aten/route/touched.h"
#include "runtime/launch.h"

namespace npu_sim::aten {
namespace {

// Counts of `bins` equal bins between min and max, in the dtype of `self`. float64 holds every
// int32 and every count exactly.
at::Tensor histc(const at::Tensor& self, std::int64_t bins, const at::Scalar& min,
                 const at::Scalar& max) {
  const runtime::LaunchSite site{"aten::histc", runtime::current_stream(self.device().index())};
  HostViews views(site.stream);
  const at::Tensor host = views.to_host(self);
  at::Tensor counts = host_call(site.stream, [&] {
    if (!at::isIntegralType(self.scalar_type(), /*includeBool=*/false))
      return at::histc(host, bins, min, max);
    return at::histc(host.to(at::kDouble), bins, min, max).to(self.scalar_type());
  });
  at::Tensor out = views.to_npu(std::move(counts));
  static const Describer describer = describer_of({"aten::histc", ""});
  const std::array<c10::IValue, 4> arguments = {self, bins, min, max};
  const std::array<c10::IValue, 1> results = {out};
  runtime::record(site, describer({.arguments = arguments, .results = results}),
                  Touched({&self}, {&out}).footprint());
  return out;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) { m.impl("histc", &histc); }

}  // namespace
}  // namespace npu_sim::aten
