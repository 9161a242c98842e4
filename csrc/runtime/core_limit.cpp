#include "runtime/core_limit.h"

#include <string>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/device_table.h"

namespace npu_sim::runtime {
namespace {

CoreCount cores_of(const model::ChipSpec& chip) { return {chip.cube_cores, chip.vector_cores}; }

std::int32_t checked(std::int32_t wanted, std::int32_t present, std::int32_t all,
                     const char* kind) {
  if (wanted == kUnchangedCores) return present;
  if (wanted >= 1 && wanted <= all) return wanted;
  throw base::ValueError("npu core limit: expected " + std::string(kind) + " from 1 to " +
                         std::to_string(all) + " (the chip's), or -1 for no change, got " +
                         std::to_string(wanted) + "; get_device_limit() tells what is in force");
}

CoreCount changed(CoreCount present, CoreCount wanted, const model::ChipSpec& whole) {
  return {checked(wanted.cube, present.cube, whole.cube_cores, "cube_num"),
          checked(wanted.vector, present.vector, whole.vector_cores, "vector_num")};
}

}  // namespace

CoreCount CoreLimits::device_limit(int device, const model::ChipSpec& whole) const {
  const auto found = devices_.find(device);
  return found == devices_.end() ? cores_of(whole) : found->second;
}

CoreCount CoreLimits::stream_limit(StreamId stream, const model::ChipSpec& whole) const {
  const auto found = streams_.find(stream);
  return found == streams_.end() ? device_limit(stream.device, whole) : found->second;
}

void CoreLimits::set(int device, CoreCount cores, const model::ChipSpec& whole) {
  const std::lock_guard lock(mutex_);
  const CoreCount limit = changed(device_limit(device, whole), cores, whole);
  if (limit == cores_of(whole)) {
    devices_.erase(device);
  } else {
    devices_[device] = limit;
  }
  any_.store(!devices_.empty() || !streams_.empty(), std::memory_order_release);
}

void CoreLimits::set(StreamId stream, CoreCount cores, const model::ChipSpec& whole) {
  const std::lock_guard lock(mutex_);
  streams_[stream] = changed(stream_limit(stream, whole), cores, whole);
  any_.store(true, std::memory_order_release);
}

void CoreLimits::lift(StreamId stream) {
  const std::lock_guard lock(mutex_);
  streams_.erase(stream);
  any_.store(!devices_.empty() || !streams_.empty(), std::memory_order_release);
}

void CoreLimits::clear() {
  const std::lock_guard lock(mutex_);
  devices_.clear();
  streams_.clear();
  any_.store(false, std::memory_order_release);
}

CoreCount CoreLimits::of(int device, const model::ChipSpec& whole) const {
  const std::lock_guard lock(mutex_);
  return device_limit(device, whole);
}

CoreCount CoreLimits::of(StreamId stream, const model::ChipSpec& whole) const {
  const std::lock_guard lock(mutex_);
  return stream_limit(stream, whole);
}

// `whole` is the device table's own chip, never a temporary.
const model::ChipSpec& CoreLimits::chip_of(StreamId stream, const model::ChipSpec& whole) {
  const std::lock_guard lock(mutex_);
  const CoreCount cores = stream_limit(stream, whole);
  // NOLINTNEXTLINE(bugprone-return-const-ref-from-parameter)
  if (cores == cores_of(whole)) return whole;
  auto& chip = chips_[{&whole, cores}];
  if (!chip) {
    chip = std::make_unique<const model::ChipSpec>(
        model::with_overrides(whole, {{"cube_cores", cores.cube}, {"vector_cores", cores.vector}}));
  }
  return *chip;
}

void limit_device_cores(int device, CoreCount cores) {
  check_device(device);
  device_table().core_limits.set(device, cores, chip());
}

CoreCount device_cores(int device) {
  check_device(device);
  return device_table().core_limits.of(device, chip());
}

void limit_stream_cores(StreamId stream, CoreCount cores) {
  check_stream(stream);
  device_table().core_limits.set(stream, cores, chip());
}

CoreCount stream_cores(StreamId stream) {
  check_stream(stream);
  return device_table().core_limits.of(stream, chip());
}

void lift_stream_limit(StreamId stream) {
  check_stream(stream);
  device_table().core_limits.lift(stream);
}

const model::ChipSpec& chip_of(StreamId stream) {
  CoreLimits& limits = device_table().core_limits;
  return limits.any() ? limits.chip_of(stream, chip()) : chip();
}

model::KernelTime share_of_card(model::KernelTime time, const model::ChipSpec& limited) {
  const model::ChipSpec& whole = chip();
  const auto scale = [&time](model::Pipe pipe, std::int64_t cores, std::int64_t all) {
    base::SimTime& busy = time.busy[static_cast<std::size_t>(pipe)];
    busy = busy / all * cores + busy % base::SimTime(all) * cores / all;
  };
  const auto scale_cube = [&](model::Pipe pipe) {
    scale(pipe, limited.cube_cores, whole.cube_cores);
  };
  const auto scale_vector = [&](model::Pipe pipe) {
    scale(pipe, limited.vector_cores, whole.vector_cores);
  };
  // The movers inside a core go with the core, as in busy_of_shared().
  const bool cube_reads = time.busy_of(model::Pipe::kCube) > base::SimTime::zero();
  for (const auto pipe : {model::Pipe::kCube, model::Pipe::kMte1, model::Pipe::kFixpipe}) {
    scale_cube(pipe);
  }
  for (const auto pipe : {model::Pipe::kVector, model::Pipe::kMte3}) scale_vector(pipe);
  cube_reads ? scale_cube(model::Pipe::kMte2) : scale_vector(model::Pipe::kMte2);
  return time;
}

}  // namespace npu_sim::runtime
