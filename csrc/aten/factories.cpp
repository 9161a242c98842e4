// empty and empty_strided: the only two ways a tensor comes into being on npu without a source.
#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/native/TensorFactories.h>
#include <torch/library.h>

#include "backend/device_type.h"
#include "backend/storage.h"
#include "runtime/launch.h"

namespace npu_sim::aten {
namespace {

using at::IntArrayRef;

at::Tensor make_tensor(std::size_t bytes, caffe2::TypeMeta dtype, c10::Device device) {
  return at::detail::make_tensor<c10::TensorImpl>(
      backend::make_storage(bytes, device), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
      dtype);
}

c10::Device checked_device(std::optional<c10::Device> device, std::optional<bool> pin_memory,
                           std::optional<at::Layout> layout) {
  TORCH_CHECK(!pin_memory.value_or(false), "Only dense CPU tensors can be pinned");
  TORCH_CHECK_NOT_IMPLEMENTED(layout.value_or(at::kStrided) == at::kStrided,
                              "empty: expected a strided layout on npu, got ", *layout);
  const int index = backend::index_of(device.value_or(c10::Device(backend::kNpu)));
  TORCH_CHECK(index < runtime::device_count(),
              "NPU error: invalid device ordinal: expected an index below ",
              runtime::device_count(), ", got npu:", index,
              "; NPU_SIM_DEVICES sets how many there are");
  return backend::npu_device(index);
}

at::Tensor filled_if_deterministic(at::Tensor out) {
  const at::Context& context = at::globalContext();
  if (C10_UNLIKELY(context.deterministicAlgorithms() &&
                   context.deterministicFillUninitializedMemory())) {
    at::native::fill_empty_deterministic_(out);
  }
  return out;
}

// As torch's own factories do (EmptyTensor.cpp), which keep theirs to themselves.
void warn_of_complex_half(const caffe2::TypeMeta& dtype) {
  if (C10_LIKELY(!dtype.isScalarType(at::kComplexHalf))) return;
  TORCH_WARN_ONCE("ComplexHalf support is experimental and many operators don't support it yet.");
}

at::Tensor empty(IntArrayRef size, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout> layout, std::optional<c10::Device> device,
                 std::optional<bool> pin_memory, std::optional<at::MemoryFormat> format) {
  const c10::Device target = checked_device(device, pin_memory, layout);
  at::detail::check_size_nonnegative(size);
  const auto meta = c10::scalarTypeToTypeMeta(c10::dtype_or_default(dtype));
  warn_of_complex_half(meta);
  const std::size_t bytes = at::detail::computeStorageNbytesContiguous(size, meta.itemsize());
  at::Tensor out = make_tensor(bytes, meta, target);
  if (size.size() != 1 || size[0] != 0) out.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  if (format.has_value() && *format != at::MemoryFormat::Contiguous) {
    out.unsafeGetTensorImpl()->empty_tensor_restride(*format);
  }
  return filled_if_deterministic(std::move(out));
}

at::Tensor empty_strided(IntArrayRef size, IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout> layout, std::optional<c10::Device> device,
                         std::optional<bool> pin_memory) {
  const c10::Device target = checked_device(device, pin_memory, layout);
  at::detail::check_size_nonnegative(size);
  const auto meta = c10::scalarTypeToTypeMeta(c10::dtype_or_default(dtype));
  warn_of_complex_half(meta);
  const std::size_t bytes = at::detail::computeStorageNbytes(size, stride, meta.itemsize());
  at::Tensor out = make_tensor(bytes, meta, target);
  out.unsafeGetTensorImpl()->set_sizes_and_strides(size, stride);
  return filled_if_deterministic(std::move(out));
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
}

}  // namespace
}  // namespace npu_sim::aten
