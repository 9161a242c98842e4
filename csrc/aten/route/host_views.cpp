#include "aten/route/host_views.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ops/_efficientzerotensor.h>
#include <c10/core/TensorImpl.h>

#include <cstdint>
#include <cstring>
#include <exception>

#include "aten/route/layouts.h"
#include "aten/route/tensor_keys.h"
#include "backend/device_type.h"
#include "backend/storage.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::aten {
namespace {

using backend::kNpu;

void copy_geometry(const c10::TensorImpl& from, c10::TensorImpl& to) {
  to.set_sizes_and_strides(from.sizes(), from.strides(), from.storage_offset());
}

bool same_geometry(const c10::TensorImpl& a, const c10::TensorImpl& b) {
  return a.storage_offset() == b.storage_offset() && a.sizes() == b.sizes() &&
         a.strides() == b.strides();
}

// Whether the storage holds every element; not, when torch cannot even count the bytes.
bool fits(const c10::TensorImpl& tensor) noexcept {
  if (tensor.numel() == 0) return true;
  const std::size_t bytes = tensor.unsafe_storage().nbytes();
  if (C10_LIKELY(tensor.is_contiguous())) {
    return static_cast<std::size_t>(tensor.storage_offset() + tensor.numel()) * tensor.itemsize() <=
           bytes;
  }
  try {
    return at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), tensor.itemsize(),
                                            static_cast<std::size_t>(tensor.storage_offset())) <=
           bytes;
  } catch (const std::exception&) {
    return false;
  }
}

// Whether torch has finished shaping the tensor: it may throw between the sizes and their product.
bool is_shaped(const c10::TensorImpl& tensor) noexcept {
  std::int64_t product = 1;
  for (const std::int64_t size : tensor.sizes()) {
    if (size < 0 || __builtin_mul_overflow(product, size, &product)) return false;
  }
  return product == tensor.numel();
}

c10::Storage npu_storage(const c10::Storage& host, c10::Device device) {
  return {c10::make_intrusive<backend::NpuStorage>(host, device)};
}

// Results that a kernel allocated outside the card's memory (in a worker thread, say) move in.
c10::Storage move_in(const c10::Storage& host, c10::Device device) {
  c10::Storage storage = backend::make_storage(host.nbytes(), device);
  if (host.nbytes() > 0) std::memcpy(const_cast<void*>(storage.data()), host.data(), host.nbytes());
  return storage;
}

}  // namespace

at::Tensor host_view(const at::Tensor& tensor) {
  const c10::TensorImpl& npu = *tensor.unsafeGetTensorImpl();
  TORCH_CHECK(C10_LIKELY(fits(npu)), "npu: expected a storage that holds a tensor of shape ",
              npu.sizes(), ", got one that was resized to ", npu.unsafe_storage().nbytes(),
              " bytes; give it memory with untyped_storage().resize_()");
  auto host =
      c10::make_intrusive<c10::TensorImpl>(backend::host_storage(npu.unsafe_storage()),
                                           c10::DispatchKeySet(c10::DispatchKey::CPU), npu.dtype());
  copy_geometry(npu, *host);
  if (C10_UNLIKELY(npu.is_conj())) host->_set_conj(true);
  if (C10_UNLIKELY(npu.is_neg())) host->_set_neg(true);
  if (C10_UNLIKELY(npu.is_wrapped_number())) host->set_wrapped_number(true);
  return at::Tensor(std::move(host));
}

at::Tensor make_npu_tensor(c10::Storage storage, const at::Tensor& like) {
  auto npu = c10::make_intrusive<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), like.dtype());
  const c10::TensorImpl& from = *like.unsafeGetTensorImpl();
  copy_geometry(from, *npu);
  if (C10_UNLIKELY(from.is_conj())) npu->_set_conj(true);
  if (C10_UNLIKELY(from.is_neg())) npu->_set_neg(true);
  return at::Tensor(std::move(npu));
}

c10::Device HostViews::device() const { return backend::npu_device(stream_.device); }

at::Tensor HostViews::to_host(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.device().type() != kNpu) return tensor;
  if (C10_UNLIKELY(options_.one_view_each)) {
    for (const Pair& pair : pairs_) {
      if (pair.npu == tensor.unsafeGetTensorImpl()) return pair.host;
    }
  }
  const bool dense =
      tensor.layout() == at::kStrided && !tensor.is_quantized() && !tensor.is_nested();
  at::Tensor host = C10_LIKELY(dense) ? dense_to_host(tensor) : layout_to_host(tensor, *this);
  if (C10_UNLIKELY(options_.keep_requires_grad && tensor.requires_grad()))
    host.set_requires_grad(true);
  pairs_.push_back({host, tensor.unsafeGetTensorImpl()});
  return host;
}

at::Tensor HostViews::dense_to_host(const at::Tensor& tensor) const {
  if (C10_UNLIKELY(tensor._is_zerotensor())) {
    return at::_efficientzerotensor(tensor.sizes(), tensor.options().device(at::kCPU));
  }
  return host_view(tensor);
}

at::Tensor HostViews::to_npu(at::Tensor result) {
  if (!result.defined() || result.device().type() != at::kCPU) return result;
  for (const Pair& pair : pairs_) {
    if (pair.host.is_same(result)) {
      return at::Tensor(c10::intrusive_ptr<c10::TensorImpl>::reclaim_copy(pair.npu));
    }
  }
  if (C10_UNLIKELY(result.layout() != at::kStrided)) return layout_to_npu(result, *this);
  return strided_to_npu(std::move(result));
}

at::Tensor HostViews::strided_to_npu(at::Tensor result) {
  c10::TensorImpl& impl = *result.unsafeGetTensorImpl();
  if (C10_LIKELY(impl.has_storage())) {
    c10::Storage storage = to_npu(impl.unsafe_storage());
    // A kernel that kept a reference keeps its own tensor; otherwise the tensor itself moves.
    if (result.use_count() > 1) return make_npu_tensor(std::move(storage), result);
    impl.set_storage_keep_dtype(std::move(storage));
  }
  become_npu(impl, device());
  return result;
}

c10::Storage HostViews::to_npu(const c10::Storage& host) {
  const bool shared = host.use_count() > 1;
  if (shared) {
    const c10::StorageImpl* const wanted = host.unsafeGetStorageImpl();
    for (const Pair& pair : pairs_) {
      const c10::TensorImpl& known = *pair.host.unsafeGetTensorImpl();
      if (known.has_storage() && known.unsafe_storage().unsafeGetStorageImpl() == wanted) {
        return pair.npu->unsafe_storage();
      }
    }
    for (const auto& [known, storage] : fresh_) {
      if (known == wanted) return storage;
    }
  }
  // Empty tensors and torch's symbolic zeros have no bytes to move.
  const bool resident = host.data() == nullptr || runtime::device_of(host.data()) == stream_.device;
  c10::Storage storage =
      C10_LIKELY(resident) ? npu_storage(host, device()) : move_in(host, device());
  if (shared) fresh_.emplace_back(host.unsafeGetStorageImpl(), storage);
  return storage;
}

void HostViews::follow(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.device().type() != kNpu) return;
  c10::TensorImpl* const npu = tensor.unsafeGetTensorImpl();
  for (const Pair& pair : pairs_) {
    if (pair.npu != npu) continue;
    const c10::TensorImpl& written = *pair.host.unsafeGetTensorImpl();
    if (!npu->has_storage()) return layout_follow(written, tensor, *this);
    auto* const storage = backend::as_npu(npu->unsafe_storage().unsafeGetStorageImpl());
    if (storage != nullptr) {
      const c10::Storage& host = written.unsafe_storage();
      if (C10_UNLIKELY(!storage->is_host(host))) {
        npu->set_storage_keep_dtype(npu_storage(host, tensor.device()));
      } else {
        storage->follow_host();
      }
    }
    if (C10_UNLIKELY(!same_geometry(written, *npu))) copy_geometry(written, *npu);
    // Solvers may leave the conjugate of their answer in an out tensor, and its bit set.
    if (C10_UNLIKELY(written.is_conj() != npu->is_conj())) npu->_set_conj(written.is_conj());
    if (C10_UNLIKELY(written.is_neg() != npu->is_neg())) npu->_set_neg(written.is_neg());
    return;
  }
}

void HostViews::follow_failed() noexcept {
  for (const Pair& pair : pairs_) {
    const c10::TensorImpl& host = *pair.host.unsafeGetTensorImpl();
    if (!host.has_storage() || !pair.npu->has_storage() || pair.npu->is_nested()) continue;
    auto* const storage = backend::as_npu(pair.npu->unsafe_storage().unsafeGetStorageImpl());
    if (storage == nullptr || !storage->is_host(host.unsafe_storage())) continue;
    storage->follow_host();
    // torch shapes a result before it asks for the memory, which may have been refused.
    if (!same_geometry(host, *pair.npu) && is_shaped(host) && fits(host))
      copy_geometry(host, *pair.npu);
  }
}

}  // namespace npu_sim::aten
