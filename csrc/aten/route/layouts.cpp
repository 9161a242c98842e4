#include "aten/route/layouts.h"

#include <ATen/NestedTensorImpl.h>
#include <ATen/SparseCsrTensorImpl.h>
#include <ATen/SparseTensorImpl.h>
#include <ATen/quantized/QTensorImpl.h>
#include <c10/core/DeviceGuard.h>

#include "aten/route/host_views.h"
#include "aten/route/tensor_keys.h"
#include "backend/device_type.h"
#include "backend/storage.h"

namespace npu_sim::aten {
namespace {

using c10::DispatchKey;
using c10::DispatchKeySet;

template <class Impl>
const Impl& impl_of(const at::Tensor& tensor) {
  return *static_cast<const Impl*>(tensor.unsafeGetTensorImpl());
}

void copy_geometry(const c10::TensorImpl& from, c10::TensorImpl& to) {
  to.set_sizes_and_strides(from.sizes(), from.strides(), from.storage_offset());
}

at::Tensor quantized_to_host(const at::Tensor& tensor) {
  const auto& npu = impl_of<at::QTensorImpl>(tensor);
  auto host = c10::make_intrusive<at::QTensorImpl>(
      backend::host_storage(npu.unsafe_storage()), DispatchKeySet(DispatchKey::QuantizedCPU),
      npu.dtype(), const_cast<at::QTensorImpl&>(npu).quantizer());
  copy_geometry(npu, *host);
  return at::Tensor(std::move(host));
}

at::Tensor nested_to_host(const at::Tensor& tensor) {
  const auto& npu = impl_of<at::native::NestedTensorImpl>(tensor);
  return at::detail::make_tensor<at::native::NestedTensorImpl>(
      backend::host_storage(npu.unsafe_storage()), host_keys(npu.key_set()), npu.dtype(),
      npu.get_nested_sizes(), npu.get_nested_strides(), npu.get_storage_offsets());
}

// The parts of a sparse tensor, moved by `move`, as a sparse tensor under `key`.
template <class Move>
at::Tensor move_coo(const at::SparseTensorImpl& from, DispatchKey key, Move move) {
  auto to = c10::make_intrusive<at::SparseTensorImpl>(DispatchKeySet(key), from.dtype());
  to->raw_resize_(from.sparse_dim(), from.dense_dim(), from.sizes());
  to->set_indices_and_values_unsafe(move(from.indices()), move(from.values()));
  to->set_coalesced(from.coalesced());
  return at::Tensor(std::move(to));
}

template <class Move>
at::Tensor move_compressed(const at::SparseCsrTensorImpl& from, c10::Device device, DispatchKey key,
                           Move move) {
  auto to = c10::make_intrusive<at::SparseCsrTensorImpl>(DispatchKeySet(key), device, from.layout(),
                                                         from.dtype());
  to->set_member_tensors(move(from.compressed_indices()), move(from.plain_indices()),
                         move(from.values()), from.sizes());
  return at::Tensor(std::move(to));
}

bool is_compressed(at::Layout layout) {
  return layout == at::kSparseCsr || layout == at::kSparseCsc || layout == at::kSparseBsr ||
         layout == at::kSparseBsc;
}

}  // namespace

at::Tensor layout_to_host(const at::Tensor& tensor, HostViews& views) {
  if (tensor.is_nested()) return nested_to_host(tensor);
  if (tensor.is_quantized()) return quantized_to_host(tensor);
  const auto move = [&](const at::Tensor& part) { return views.to_host(part); };
  if (tensor.layout() == at::kSparse) {
    return move_coo(impl_of<at::SparseTensorImpl>(tensor), DispatchKey::SparseCPU, move);
  }
  TORCH_CHECK_NOT_IMPLEMENTED(
      is_compressed(tensor.layout()),
      "npu: expected a strided, quantized, sparse or nested tensor, got layout ", tensor.layout(),
      "; convert it with to_dense() first");
  return move_compressed(impl_of<at::SparseCsrTensorImpl>(tensor), at::kCPU,
                         DispatchKey::SparseCsrCPU, move);
}

at::Tensor layout_to_npu(const at::Tensor& result, HostViews& views) {
  const auto move = [&](const at::Tensor& part) { return views.to_npu(part); };
  if (result.layout() == at::kSparse) {
    const c10::DeviceGuard guard(
        views.device());  // torch makes a sparse tensor on the current device
    return move_coo(impl_of<at::SparseTensorImpl>(result), DispatchKey::SparsePrivateUse1, move);
  }
  TORCH_CHECK_NOT_IMPLEMENTED(
      is_compressed(result.layout()),
      "npu: expected a strided, quantized, sparse or nested result, got layout ", result.layout(),
      "; this layout exists on the CPU only");
  return move_compressed(impl_of<at::SparseCsrTensorImpl>(result), views.device(),
                         DispatchKey::SparseCsrPrivateUse1, move);
}

void layout_follow(const c10::TensorImpl& host, const at::Tensor& tensor, HostViews& views) {
  const auto move = [&](const at::Tensor& part) { return views.to_npu(part); };
  if (tensor.layout() == at::kSparse) {
    const auto& from = static_cast<const at::SparseTensorImpl&>(host);
    auto& to = *static_cast<at::SparseTensorImpl*>(tensor.unsafeGetTensorImpl());
    to.raw_resize_(from.sparse_dim(), from.dense_dim(), from.sizes());
    to.set_indices_and_values_unsafe(move(from.indices()), move(from.values()));
    to.set_coalesced(from.coalesced());
  } else if (is_compressed(tensor.layout())) {
    const auto& from = static_cast<const at::SparseCsrTensorImpl&>(host);
    auto& to = *static_cast<at::SparseCsrTensorImpl*>(tensor.unsafeGetTensorImpl());
    to.set_member_tensors(move(from.compressed_indices()), move(from.plain_indices()),
                          move(from.values()), from.sizes());
  }
}

}  // namespace npu_sim::aten
