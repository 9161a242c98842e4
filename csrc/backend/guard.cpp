// DeviceGuardImplInterface: devices, streams and events as torch's generic code drives them.
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>

#include <exception>

#include "backend/device_type.h"
#include "runtime/event.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::backend {
namespace {

runtime::Event& as_event(void* event) { return *static_cast<runtime::Event*>(event); }

struct Guard final : public c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kNpu; }

  c10::Device exchangeDevice(c10::Device device) const override {
    return npu_device(runtime::exchange_device(index_of(device)));
  }
  c10::Device getDevice() const override { return npu_device(runtime::current_device()); }
  void setDevice(c10::Device device) const override {
    runtime::set_current_device(index_of(device));
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.index() >= 0 && device.index() < deviceCount()) {
      runtime::set_current_device(device.index());
    }
  }
  c10::DeviceIndex deviceCount() const noexcept override {
    try {
      return static_cast<c10::DeviceIndex>(runtime::device_count());
    } catch (const std::exception&) {
      return 0;  // NPU_SIM_DEVICES is wrong, which importing the package has reported
    }
  }
  c10::DeviceCapability getDeviceCapability(c10::Device) const override { return {}; }

  c10::Stream getStream(c10::Device device) const override {
    return to_torch(runtime::current_stream(index_of(device)));
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return to_torch({.device = index_of(device), .index = 0});
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool high) const override {
    return getNewStream(device, high ? runtime::kHighestPriority : runtime::kLowestPriority);
  }
  c10::Stream getNewStream(c10::Device device, int priority) const override {
    return to_torch(runtime::stream_from_pool(index_of(device), priority));
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    const c10::Stream previous = getStream(stream.device());
    runtime::set_current_stream(to_runtime(stream));
    return previous;
  }
  void* getStreamNativeHandle(const c10::Stream stream) const override {
    return reinterpret_cast<void*>(stream.id());
  }
  bool queryStream(const c10::Stream& stream) const override {
    return runtime::query(to_runtime(stream));
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    runtime::synchronize(to_runtime(stream));
  }
  void synchronizeDevice(const c10::DeviceIndex device) const override {
    runtime::synchronize_device(device);
  }
  void recordDataPtrOnStream(const c10::DataPtr& data, const c10::Stream& stream) const override {
    if (data) runtime::record_stream(data.get(), to_runtime(stream));
  }

  // An event is made at its first record and owned by torch until destroyEvent.
  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex device,
              const c10::EventFlag flag) const override {
    TORCH_CHECK(device == -1 || device == stream.device_index(), "Event device index ", device,
                " does not match recording stream's device index ", stream.device_index(), ".");
    if (*event == nullptr) {
      *event = new runtime::Event(/*timing=*/flag == c10::EventFlag::BACKEND_DEFAULT);
    }
    as_event(*event).record(to_runtime(stream));
  }
  void block(void* event, const c10::Stream& stream) const override {
    if (event != nullptr) as_event(event).block(to_runtime(stream));
  }
  bool queryEvent(void* event) const override {
    return event == nullptr || as_event(event).query();
  }
  void synchronizeEvent(void* event) const override {
    if (event != nullptr) as_event(event).synchronize();
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<runtime::Event*>(event);
  }
  double elapsedTime(void* start, void* end, const c10::DeviceIndex) const override {
    TORCH_CHECK(start != nullptr && end != nullptr,
                "Both events must be recorded before calculating elapsed time.");
    return base::to_ms(runtime::Event::elapsed(as_event(start), as_event(end)));
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

}  // namespace
}  // namespace npu_sim::backend
