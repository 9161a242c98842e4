// An npu storage: a StorageImpl for torch that also holds a CPU-keyed StorageImpl over the same
// bytes. CPU kernels work on the latter; nothing is ever copied between the two.
#pragma once

#include <c10/core/Storage.h>
#include <c10/core/StorageImpl.h>

#include <cstdint>

namespace npu_sim::backend {

inline constexpr std::int64_t kFormatNd = 2;  // ACL_FORMAT_ND

class NpuStorage final : public c10::StorageImpl {
 public:
  // Takes over the bytes of `host`, which must lie in the memory of device `device_index`.
  NpuStorage(c10::Storage host, c10::Device device);

  // The CPU-keyed storage over the same bytes. Rebuilt if somebody exchanged the bytes of this one.
  [[nodiscard]] const c10::Storage& host();

  // Whether `host` is the CPU side as a kernel has left it, exchanged bytes or not.
  [[nodiscard]] bool is_host(const c10::Storage& host) const {
    return host.unsafeGetStorageImpl() == host_.unsafeGetStorageImpl();
  }

  // How the card would lay out the bytes, an aclFormat; here they are always as ND has them. Views
  // share it.
  [[nodiscard]] std::int64_t format() const { return format_; }
  void set_format(std::int64_t format) { format_ = format; }

  // Takes over what a CPU kernel did to the host side (a resize moves the bytes).
  void follow_host();

 private:
  void rebuild_host();

  c10::Storage host_;
  std::int64_t format_ = kFormatNd;
};

// A storage of `bytes` uninitialised bytes on the device, on its current stream.
[[nodiscard]] c10::Storage make_storage(std::size_t bytes, c10::Device device);

// The same of bytes that `host` holds, a storage of the CPU: the device sees them, but they are not
// its own memory.
[[nodiscard]] c10::Storage make_storage_over(c10::Storage host, c10::Device device);

// `storage` as NpuStorage; nullptr for a foreign StorageImpl on the npu device.
[[nodiscard]] NpuStorage* as_npu(c10::StorageImpl* storage);

// The CPU side of any storage on the npu device. For a foreign one (made by from_blob, say) a
// temporary is built that keeps `storage` alive.
[[nodiscard]] c10::Storage host_storage(const c10::Storage& storage);

// Gives the storage new size; keeps the common prefix. Counterpart of storage.resize_().
void resize_bytes(const c10::Storage& storage, std::size_t bytes);

}  // namespace npu_sim::backend
