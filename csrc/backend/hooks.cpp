// PrivateUse1HooksInterface: what torch's generic code asks of the backend as a whole.
#include <ATen/detail/PrivateUse1HooksInterface.h>

#include "backend/device_type.h"
#include "backend/generator.h"
#include "backend/pinned_memory.h"
#include "backend/storage.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::backend {
namespace {

struct Hooks final : public at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return runtime::device_count() > 0; }
  void init() const override { runtime::mark_used(); }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return runtime::used(); }

  c10::DeviceIndex deviceCount() const override {
    return static_cast<c10::DeviceIndex>(runtime::device_count());
  }
  void setCurrentDevice(c10::DeviceIndex device) const override {
    runtime::set_current_device(device);
  }
  c10::DeviceIndex getCurrentDevice() const override {
    return static_cast<c10::DeviceIndex>(runtime::current_device());
  }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    if (device < 0) return -1;
    return static_cast<c10::DeviceIndex>(runtime::exchange_device(device));
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override {
    return exchangeDevice(device);
  }

  const at::Generator& getDefaultGenerator(c10::DeviceIndex device) const override {
    return default_generator(device);
  }
  at::Generator getNewGenerator(c10::DeviceIndex device) const override {
    const int index = device < 0 ? runtime::current_device() : device;
    TORCH_CHECK_INDEX(index < runtime::device_count(),
                      "torch.Generator: expected an npu index below ", runtime::device_count(),
                      ", got ", index, "; NPU_SIM_DEVICES sets how many there are");
    return at::make_generator<NpuGenerator>(static_cast<c10::DeviceIndex>(index),
                                            c10::default_rng_seed_val);
  }

  at::Device getDeviceFromPtr(void* data) const override {
    const int device = runtime::device_of(data);
    TORCH_CHECK(device >= 0, "getDeviceFromPtr: expected a pointer into an npu's memory, got ",
                data);
    return npu_device(device);
  }
  bool isPinnedPtr(const void* data) const override { return is_pinned(data); }
  at::Allocator* getPinnedMemoryAllocator() const override { return pinned_allocator(); }

  void resizePrivateUse1Bytes(const c10::Storage& storage, std::size_t bytes) const override {
    resize_bytes(storage, bytes);
  }
};

const bool kRegistered = [] {
  at::RegisterPrivateUse1HooksInterface(new Hooks());  // torch keeps it for the process's life
  return true;
}();

}  // namespace
}  // namespace npu_sim::backend
