// Copies: within a card, between cards, and over the host link.
#include <ATen/core/Tensor.h>
#include <ATen/ops/copy_ops.h>
#include <ATen/ops/resize.h>
#include <torch/library.h>

#include "aten/describe/work_of.h"
#include "aten/route/host_call.h"
#include "aten/route/host_views.h"
#include "aten/route/touched.h"
#include "backend/device_type.h"
#include "backend/pinned_memory.h"
#include "runtime/event.h"
#include "runtime/launch.h"

namespace npu_sim::aten {
namespace {

using backend::kNpu;

// A copy over the host link is asynchronous only if asked for and if the host side is pinned.
bool host_waits(const at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  const bool within_cards = self.device().type() == kNpu && source.device().type() == kNpu;
  if (within_cards) return false;
  const at::Tensor& host = self.device().type() == kNpu ? source : self;
  return !(non_blocking && host.has_storage() && backend::is_pinned(host.storage().data()));
}

void copy_values(const at::Tensor& self, const at::Tensor& source, runtime::StreamId stream) {
  HostViews views(stream);
  at::Tensor to = views.to_host(self);
  const at::Tensor from = views.to_host(source);
  host_call(stream, [&] { at::_ops::copy_::call(to, from, /*non_blocking=*/false); });
}

// What `later` gets from now on starts after what `first` has queued.
void order(runtime::StreamId first, runtime::StreamId later) {
  runtime::Event queued(/*timing=*/false);
  queued.record(first);
  queued.block(later);
}

void record_on_one_card(const runtime::LaunchSite& site, const model::Work& work,
                        const Touched& touched, bool blocking) {
  if (const auto* const moved = std::get_if<model::CopyWork>(&work)) {
    runtime::record_copy(site, *moved, blocking, touched.footprint());
  } else {
    runtime::record(site, work, touched.footprint());  // a conversion on the card
  }
}

// As torch.cuda: a copy between cards starts when both streams have come to it, and both wait for
// its end.
void record_between_cards(const runtime::LaunchSite& site, const model::Work& work, int source) {
  const runtime::StreamId other = runtime::current_stream(source);
  order(other, site.stream);
  runtime::record(site, work);
  order(site.stream, other);
}

at::Tensor& copy_(at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  TORCH_CHECK(self.defined() && source.defined(), "copy_: expected two defined tensors");
  if (self.is_same(source)) return self;
  TORCH_CHECK(self.device().type() == kNpu || self.device().is_cpu(),
              "copy_: expected npu or cpu as the other device, got ", self.device(),
              "; go through the CPU");
  TORCH_CHECK(source.device().type() == kNpu || source.device().is_cpu(),
              "copy_: expected npu or cpu as the other device, got ", source.device(),
              "; go through the CPU");
  const c10::Device card = self.device().type() == kNpu ? self.device() : source.device();
  const runtime::LaunchSite site{"aten::copy_", runtime::current_stream(card.index())};
  copy_values(self, source, site.stream);
  const model::Work work = work_of::copy(self, source);
  if (source.device().type() == kNpu && source.device() != card) {
    record_between_cards(site, work, source.device().index());
  } else {
    record_on_one_card(site, work, Touched({&source}, {&self}),
                       host_waits(self, source, non_blocking));
  }
  return self;
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& dst, bool non_blocking) {
  at::Tensor to = dst;
  return copy_(to, self, non_blocking);
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& dst) {
  if (self.sizes() != dst.sizes()) dst.resize_(self.sizes());
  return copy_from(self, dst, false);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("copy_", &copy_);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
}

TORCH_LIBRARY_IMPL(aten, QuantizedPrivateUse1, m) { m.impl("copy_", &copy_); }

// The kernels above read conj and neg bits themselves; torch's own fallback would recurse.
TORCH_LIBRARY_IMPL(aten, Conjugate, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
  m.impl("_copy_from_and_resize", torch::CppFunction::makeFallthrough());
}
TORCH_LIBRARY_IMPL(aten, Negative, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
  m.impl("_copy_from_and_resize", torch::CppFunction::makeFallthrough());
}

}  // namespace
}  // namespace npu_sim::aten
