#include "runtime/device_table.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/fork.h"

namespace npu_sim::runtime {
namespace {

constexpr int kDefaultDevices = 8;

int configured_devices() {
  const char* text = std::getenv("NPU_SIM_DEVICES");
  if (!text || !*text) return kDefaultDevices;
  char* end = nullptr;
  const long count = std::strtol(text, &end, 10);
  if (*end || count < 1 || count > kMaxDevices) {
    throw base::ValueError("NPU_SIM_DEVICES: expected a whole number from 1 to " +
                           std::to_string(kMaxDevices) + ", got '" + text + "'; unset it for " +
                           std::to_string(kDefaultDevices) + " devices");
  }
  return static_cast<int>(count);
}

// A file (as opposed to a preset's name) is read by the Python side, which then calls set_chip().
bool names_file(const std::string& text) {
  return text.find('/') != std::string::npos || text.ends_with(".yaml") || text.ends_with(".yml");
}

model::ChipSpec configured_chip() {
  const char* text = std::getenv("NPU_SIM_CHIP");
  const bool use_default = !text || !*text || names_file(text);
  model::ChipSpec chip =
      model::preset(use_default ? model::preset_names().front() : std::string(text));
  const char* fidelity = std::getenv("NPU_SIM_FIDELITY");
  if (fidelity && *fidelity) chip.fidelity = model::fidelity_named(fidelity);
  return chip;
}

thread_local int thread_device = 0;

}  // namespace

DeviceTable::DeviceTable(int device_total)
    : count(device_total), timeline(device_total), l2(device_total) {
  for (int device = 0; device < count; ++device) {
    allocators.push_back(std::make_unique<DeviceAllocator>(device, addresses));
  }
}

DeviceTable& device_table() {
  static DeviceTable& table = []() -> DeviceTable& {
    auto made = std::make_unique<DeviceTable>(configured_devices());
    install_fork_handlers();
    return *made.release();
  }();
  return table;
}

base::SimTime advance_for_poll() {
  const auto cost = std::max<base::SimTime>(std::chrono::nanoseconds(chip().host.view_op_ns),
                                            std::chrono::nanoseconds(1));
  return device_table().clock.advance(cost);
}

void check_device(int device) {
  const int count = device_table().count;
  if (device >= 0 && device < count) return;
  throw base::ValueError("npu: expected a device index from 0 to " + std::to_string(count - 1) +
                         ", got " + std::to_string(device) +
                         "; NPU_SIM_DEVICES sets how many there are");
}

void check_stream(StreamId stream) {
  check_device(stream.device);
  if (stream.index >= 0 && stream.index < kStreamsPerDevice) return;
  throw base::ValueError("npu: expected a stream index from 0 to " +
                         std::to_string(kStreamsPerDevice - 1) + ", got " +
                         std::to_string(stream.index) + "; take streams from the device's pool");
}

int device_count() { return device_table().count; }

int current_device() { return thread_device; }

void set_current_device(int device) {
  check_device(device);
  thread_device = device;
}

int exchange_device(int device) {
  check_device(device);
  return std::exchange(thread_device, device);
}

const model::ChipSpec& chip() {
  DeviceTable& table = device_table();
  if (const model::ChipSpec* present = table.chip.load(std::memory_order_acquire)) return *present;
  const std::lock_guard lock(table.chip_mutex);
  if (const model::ChipSpec* present = table.chip.load(std::memory_order_acquire)) return *present;
  table.chips.push_back(std::make_unique<const model::ChipSpec>(configured_chip()));
  table.chip.store(table.chips.back().get(), std::memory_order_release);
  return *table.chips.back();
}

void set_chip(model::ChipSpec chip) {
  DeviceTable& table = device_table();
  const std::lock_guard chip_lock(table.chip_mutex);
  std::vector<std::unique_lock<std::mutex>> locks;
  for (const auto& allocator : table.allocators) {
    locks.emplace_back(allocator->mutex());
    if (allocator->empty()) continue;
    throw base::Error("set_chip: expected no allocated memory, got tensors on npu:" +
                      std::to_string(allocator->device()) +
                      "; delete them first, or set NPU_SIM_CHIP before the program starts");
  }
  for (const auto& allocator : table.allocators) allocator->reset();
  table.addresses.release();
  const std::lock_guard timeline_lock(table.timeline_mutex);
  table.timeline.reset();
  table.l2.reset();
  table.utilization.reset();
  for (auto& stopped : table.stopped) stopped.store(false, std::memory_order_release);
  table.clock.reset();
  table.undescribed.reset();
  table.fallbacks.reset();
  table.chips.push_back(std::make_unique<const model::ChipSpec>(std::move(chip)));
  table.chip.store(table.chips.back().get(), std::memory_order_release);
  table.core_limits.clear();
}

model::Fidelity fidelity() { return chip().fidelity; }

void set_fidelity(model::Fidelity fidelity) {
  const model::ChipSpec& present = chip();
  if (present.fidelity == fidelity) return;
  DeviceTable& table = device_table();
  const std::lock_guard lock(table.chip_mutex);
  model::ChipSpec changed = *table.chip.load(std::memory_order_acquire);
  changed.fidelity = fidelity;
  table.chips.push_back(std::make_unique<const model::ChipSpec>(std::move(changed)));
  table.chip.store(table.chips.back().get(), std::memory_order_release);
}

void synchronize_device(int device) {
  check_device(device);
  DeviceTable& table = device_table();
  base::SimTime end = table.clock.now();
  {
    const std::lock_guard lock(table.timeline_mutex);
    for (int index = 0; index < kStreamsPerDevice; ++index) {
      if (table.timeline.passed({device, index}, end)) continue;
      end = std::max(end, table.timeline.finish(table.timeline.record({device, index}, {})));
    }
  }
  table.clock.wait_until(end);
  table.clock.advance(std::chrono::nanoseconds(chip().host.synchronize_ns));
}

void mark_used() { device_table().used.store(true, std::memory_order_release); }

bool used() { return device_table().used.load(std::memory_order_acquire); }

bool in_bad_fork() { return device_table().in_bad_fork.load(std::memory_order_acquire); }

}  // namespace npu_sim::runtime
