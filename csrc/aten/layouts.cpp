// Allocation and copies of tensors that are not plain dense. A device among the arguments may be
// another than the tensor's, so the route does not serve; torch's own kernels do, since they work
// part by part and each part goes to its own device.
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_empty_per_channel_affine_quantized.h>
#include <ATen/ops/_to_copy_native.h>
#include <ATen/ops/copy_native.h>
#include <ATen/ops/copy_sparse_to_sparse_native.h>
#include <ATen/ops/empty_like_native.h>
#include <ATen/ops/empty_quantized_native.h>
#include <torch/library.h>

#include "aten/route/route.h"

namespace npu_sim::aten {
namespace {

using at::Tensor;

// The scales may lie on another device than the one asked for.
Tensor empty_per_channel(at::IntArrayRef size, const Tensor& scales, const Tensor& zero_points,
                         std::int64_t axis, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout> layout, std::optional<c10::Device> device,
                         std::optional<bool> pin_memory, std::optional<at::MemoryFormat> format) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(
      "aten::_empty_per_channel_affine_quantized", "");
  const c10::Device target = device.value_or(scales.device());
  if (target != scales.device()) {
    return at::_empty_per_channel_affine_quantized(size, scales.to(target), zero_points.to(target),
                                                   axis, dtype, layout, target, pin_memory, format);
  }
  torch::jit::Stack stack{size,   scales, zero_points, axis,  dtype,
                          layout, device, pin_memory,  format};
  route(op, c10::DispatchKeySet(c10::DispatchKey::QuantizedPrivateUse1), &stack);
  return stack.front().toTensor();
}

TORCH_LIBRARY_IMPL(aten, QuantizedPrivateUse1, m) {
  m.impl("_empty_per_channel_affine_quantized", &empty_per_channel);
  m.impl("empty_like", TORCH_FN(at::native::empty_like_quantized));
  m.impl("empty_quantized", TORCH_FN(at::native::empty_quantized));
}

TORCH_LIBRARY_IMPL(aten, SparsePrivateUse1, m) {
  m.impl("copy_", TORCH_FN(at::native::copy_sparse_wrapper_));
  m.impl("copy_sparse_to_sparse_", TORCH_FN(at::native::copy_sparse_));
  m.impl("empty_like", TORCH_FN(at::native::empty_like_sparse_coo));
}

TORCH_LIBRARY_IMPL(aten, SparseCsrPrivateUse1, m) {
  m.impl("copy_", TORCH_FN(at::native::copy_sparse_compressed_));
  m.impl("empty_like", TORCH_FN(at::native::empty_like_sparse_csr));
}

TORCH_LIBRARY_IMPL(aten, NestedTensorPrivateUse1, m) {
  m.impl("_to_copy", TORCH_FN(at::native::_to_copy_nested));
  m.impl("copy_", TORCH_FN(at::native::copy_nested_));
  m.impl("empty_like", TORCH_FN(at::native::empty_like_nested));
}

}  // namespace
}  // namespace npu_sim::aten
