// Operators on storages: set_, record_stream, and the value of a one-element tensor.
#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/native/Resize.h>
#include <ATen/native/ResizeCommon.h>
#include <ATen/ops/_local_scalar_dense.h>
#include <ATen/ops/set_native.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>

#include "aten/describe/work_of.h"
#include "aten/route/host_views.h"
#include "aten/route/tensor_keys.h"
#include "aten/route/touched.h"
#include "backend/device_type.h"
#include "backend/process.h"
#include "backend/storage.h"
#include "runtime/launch.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::aten {
namespace {

// Before the tensor gets its new shape: when memory is refused, it keeps one that its storage
// holds.
void grow(const c10::Storage& storage, const at::Tensor& self, at::IntArrayRef size,
          at::IntArrayRef stride, std::int64_t offset) {
  if (std::ranges::find(size, 0) != size.end()) return;
  const std::size_t item = self.dtype().itemsize();
  const auto start = static_cast<std::size_t>(offset);
  const std::size_t needed = stride.data() == nullptr
                                 ? at::detail::computeStorageNbytesContiguous(size, item, start)
                                 : at::detail::computeStorageNbytes(size, stride, item, start);
  if (needed > storage.nbytes()) backend::resize_bytes(storage, needed);
}

at::Tensor& set_source_storage_offset(at::Tensor& self, at::Storage source, std::int64_t offset,
                                      at::IntArrayRef size, at::IntArrayRef stride) {
  const c10::Storage before = self.storage();
  at::native::checkSetStorage(self, source, offset, size, stride, /*check_offset_in_bounds=*/false);
  c10::TensorImpl* const impl = self.unsafeGetTensorImpl();
  try {
    grow(self.storage(), self, size, stride, offset);
  } catch (...) {
    impl->set_storage_keep_dtype(before);
    throw;
  }
  if (stride.data() == nullptr) {
    impl->set_storage_offset(offset);
    impl->set_sizes_contiguous(size);
  } else {
    impl->set_sizes_and_strides(size, stride, offset);
  }
  return self;
}

const at::Tensor& resize(const at::Tensor& self, at::IntArrayRef size,
                         std::optional<at::MemoryFormat> format) {
  runtime::record({"aten::resize_", runtime::current_stream(self.device().index())},
                  model::NoWork{});
  c10::TensorImpl* const impl = self.unsafeGetTensorImpl();
  const std::size_t before = self.storage().nbytes();
  if (self.sizes() != size) {
    at::detail::check_size_nonnegative(size);
    grow(self.storage(), self, size, {}, self.storage_offset());
    impl->set_sizes_contiguous(size);
  }
  if (format.has_value()) impl->empty_tensor_restride(*format);
  const at::Context& context = at::globalContext();
  if (C10_UNLIKELY(context.deterministicAlgorithms() &&
                   context.deterministicFillUninitializedMemory())) {
    at::native::fill_resize_deterministic_(self, static_cast<std::int64_t>(before));
  }
  return self;
}

at::Tensor& set_to_nothing(at::Tensor& self) {
  return set_source_storage_offset(self, backend::make_storage(0, self.device()), 0, {0}, {});
}

// A copy-on-write clone copies at once: a kernel writes through the CPU side of a storage, so no
// first write can be noticed on this side.
at::Tensor lazy_clone(const at::Tensor& self) {
  const runtime::LaunchSite site{"aten::_lazy_clone",
                                 runtime::current_stream(self.device().index())};
  const c10::Storage& from = self.storage();
  c10::Storage storage = backend::make_storage(from.nbytes(), self.device());
  if (from.nbytes() > 0) std::memcpy(const_cast<void*>(storage.data()), from.data(), from.nbytes());
  at::Tensor out = make_npu_tensor(std::move(storage), self);
  runtime::record(site, work_of::copy(out, self), Touched({&self}, {&out}).footprint());
  return out;
}

void record_stream(at::Tensor& self, c10::Stream stream) {
  if (self.storage().data() != nullptr)
    runtime::record_stream(const_cast<void*>(self.storage().data()), backend::to_runtime(stream));
}

at::Scalar local_scalar_dense(const at::Tensor& self) {
  backend::check_process();
  const runtime::LaunchSite site{"aten::_local_scalar_dense",
                                 runtime::current_stream(self.device().index())};
  const auto bytes = base::Bytes(static_cast<std::int64_t>(self.element_size()));
  runtime::record_copy(site, model::CopyWork{model::CopyRoute::kDeviceToHost, bytes, bytes, bytes},
                       /*host_waits=*/true, Touched({&self}, {}).footprint());
  return at::_local_scalar_dense(host_view(self));
}

// torch 2.13 leaves PrivateUse1 out of the dense backends whose tensors can stand in for one
// another, so Module.to would replace every Parameter.
bool has_compatible_shallow_copy_type(const at::Tensor& self, const at::Tensor& from) {
  const auto keys = host_keys(from.key_set());
  return host_keys(self.key_set()).has_backend(c10::BackendComponent::CPUBit)
             ? (self.layout() == from.layout() && self.is_quantized() == from.is_quantized() &&
                keys.has_backend(c10::BackendComponent::CPUBit))
             : self.unsafeGetTensorImpl()->has_compatible_shallow_copy_type(from.key_set());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("set_.source_Storage", TORCH_FN(at::native::set_));
  m.impl("set_.source_Storage_storage_offset", &set_source_storage_offset);
  m.impl("set_.source_Tensor", TORCH_FN(at::native::set_tensor_));
  m.impl("set_", &set_to_nothing);
  m.impl("record_stream", &record_stream);
  m.impl("resize_", &resize);
  m.impl("_lazy_clone", &lazy_clone);
  m.impl("_local_scalar_dense", &local_scalar_dense);
  m.impl("_has_compatible_shallow_copy_type", &has_compatible_shallow_copy_type);
}

TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, m) {
  m.impl("_has_compatible_shallow_copy_type", &has_compatible_shallow_copy_type);
}

}  // namespace
}  // namespace npu_sim::aten
