#include "backend/storage.h"

#include <algorithm>
#include <cstring>
#include <typeinfo>

#include "backend/allocator.h"
#include "backend/device_type.h"
#include "backend/kernel_memory.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::backend {
namespace {

// The npu side sees the bytes but does not own them: the host side does.
c10::DataPtr borrow(const c10::Storage& host, c10::Device device) {
  return {const_cast<void*>(host.data()), device};
}

// Device memory, seen as the CPU's.
c10::DataPtr host_data(int device, std::size_t bytes) {
  void* const pointer = allocate_on(runtime::current_stream(device), bytes);
  return {pointer, pointer, &runtime::deallocate, c10::kCPU};
}

void release_storage(void* context) {
  c10::raw::intrusive_ptr::decref(static_cast<c10::StorageImpl*>(context));
}

c10::intrusive_ptr<c10::StorageImpl> create(c10::StorageImpl::use_byte_size_t, c10::SymInt size,
                                            c10::DataPtr data, c10::Allocator*, bool) {
  const auto bytes = static_cast<std::size_t>(size.guard_int(__FILE__, __LINE__));
  const c10::Device device = data ? data.device() : npu_device(runtime::current_device());
  if (!data)
    return c10::intrusive_ptr<c10::StorageImpl>::reclaim(
        make_storage(bytes, device).unsafeReleaseStorageImpl());
  const auto deleter = data.get_deleter();
  void* const pointer = data.get();
  c10::DataPtr host(pointer, data.release_context(), deleter, c10::kCPU);
  c10::Storage storage(c10::Storage::use_byte_size_t{}, bytes, std::move(host), kernel_memory(),
                       true);
  return c10::make_intrusive<NpuStorage>(std::move(storage), device);
}

const bool kRegistered = [] {
  c10::SetStorageImplCreate(kNpu, &create);
  return true;
}();

}  // namespace

NpuStorage::NpuStorage(c10::Storage host, c10::Device device)
    : c10::StorageImpl(use_byte_size_t{}, static_cast<std::int64_t>(host.nbytes()),
                       borrow(host, device), npu_allocator(), /*resizable=*/true),
      host_(std::move(host)) {}

const c10::Storage& NpuStorage::host() {
  if (C10_UNLIKELY(host_.data() != data() || host_.nbytes() != nbytes())) rebuild_host();
  return host_;
}

void NpuStorage::rebuild_host() {
  // Somebody gave this storage other bytes; it owns them now, and tensors of this storage outlive
  // every use of the host side.
  c10::DataPtr view(const_cast<void*>(data()), c10::Device(c10::kCPU));
  host_ = c10::Storage(c10::Storage::use_byte_size_t{}, static_cast<std::int64_t>(nbytes()),
                       std::move(view), kernel_memory(), true);
}

void NpuStorage::follow_host() {
  if (C10_LIKELY(host_.data() == data() && host_.nbytes() == nbytes())) return;
  set_data_ptr_noswap(borrow(host_, device()));
  set_nbytes(host_.nbytes());
}

c10::Storage make_storage(std::size_t bytes, c10::Device device) {
  const int index = index_of(device);
  c10::Storage host(c10::Storage::use_byte_size_t{}, bytes, host_data(index, bytes),
                    kernel_memory(), true);
  return {c10::make_intrusive<NpuStorage>(std::move(host), npu_device(index))};
}

c10::Storage make_storage_over(c10::Storage host, c10::Device device) {
  return {c10::make_intrusive<NpuStorage>(std::move(host), npu_device(index_of(device)))};
}

NpuStorage* as_npu(c10::StorageImpl* storage) {
  return typeid(*storage) == typeid(NpuStorage) ? static_cast<NpuStorage*>(storage) : nullptr;
}

c10::Storage host_storage(const c10::Storage& storage) {
  c10::StorageImpl* const impl = storage.unsafeGetStorageImpl();
  if (NpuStorage* const npu = as_npu(impl)) return npu->host();
  c10::raw::intrusive_ptr::incref(impl);
  c10::DataPtr view(const_cast<void*>(impl->data()), impl, &release_storage, c10::kCPU);
  return {c10::Storage::use_byte_size_t{}, impl->nbytes(), std::move(view), nullptr, false};
}

void resize_bytes(const c10::Storage& storage, std::size_t bytes) {
  NpuStorage* const npu = as_npu(storage.unsafeGetStorageImpl());
  TORCH_CHECK(
      npu != nullptr,
      "resize_: expected a storage made on npu, got one over foreign memory; clone() it first");
  const c10::Storage& host = npu->host();
  c10::DataPtr fresh = host_data(npu->device().index(), bytes);
  const std::size_t kept = std::min(bytes, host.nbytes());
  if (kept > 0) std::memcpy(fresh.get(), host.data(), kept);
  c10::StorageImpl* const impl = host.unsafeGetStorageImpl();
  impl->set_data_ptr_noswap(std::move(fresh));
  impl->set_nbytes(bytes);
  npu->follow_host();
}

}  // namespace npu_sim::backend
