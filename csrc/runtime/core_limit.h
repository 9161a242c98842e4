// How many cores kernels may use: all of the chip's, unless a device or a stream is limited.
//
// A kernel under a limit is timed on a chip whose peaks have shrunk with its cores, and leaves the
// rest of the card to kernels on other streams. Limits end when the chip is replaced.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "model/chip/chip_spec.h"
#include "model/cost/kernel_time.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {

struct CoreCount {
  std::int32_t cube = 0;
  std::int32_t vector = 0;

  auto operator<=>(const CoreCount&) const = default;
};

// In a request: that kind of core stays as it is.
inline constexpr std::int32_t kUnchangedCores = -1;

// Limits every stream of the device that has no limit of its own. Each count is kUnchangedCores or
// from 1 to the chip's; throws base::ValueError otherwise.
void limit_device_cores(int device, CoreCount cores);
[[nodiscard]] CoreCount device_cores(int device);

// A stream's own limit goes before its device's. Throws base::ValueError as above.
void limit_stream_cores(StreamId stream, CoreCount cores);
[[nodiscard]] CoreCount stream_cores(StreamId stream);
void lift_stream_limit(StreamId stream);

// The chip as kernels of the stream find it; chip() itself when nothing is limited.
[[nodiscard]] const model::ChipSpec& chip_of(StreamId stream);

// What a kernel timed on `limited` takes of the whole card: its cores are not all there are.
[[nodiscard]] model::KernelTime share_of_card(model::KernelTime time,
                                              const model::ChipSpec& limited);

// The limits in force; part of the device table.
class CoreLimits {
 public:
  [[nodiscard]] bool any() const { return any_.load(std::memory_order_acquire); }

  void set(int device, CoreCount cores, const model::ChipSpec& whole);
  void set(StreamId stream, CoreCount cores, const model::ChipSpec& whole);
  void lift(StreamId stream);
  void clear();
  [[nodiscard]] CoreCount of(int device, const model::ChipSpec& whole) const;
  [[nodiscard]] CoreCount of(StreamId stream, const model::ChipSpec& whole) const;
  [[nodiscard]] const model::ChipSpec& chip_of(StreamId stream, const model::ChipSpec& whole);
  [[nodiscard]] std::mutex& mutex() { return mutex_; }  // for the fork handlers

 private:
  [[nodiscard]] CoreCount device_limit(int device, const model::ChipSpec& whole) const;
  [[nodiscard]] CoreCount stream_limit(StreamId stream, const model::ChipSpec& whole) const;

  mutable std::mutex mutex_;
  std::atomic<bool> any_{false};
  std::map<int, CoreCount> devices_;
  std::map<StreamId, CoreCount> streams_;
  // Chips with fewer cores; kept, since references to them are handed out.
  std::map<std::tuple<const model::ChipSpec*, CoreCount>, std::unique_ptr<const model::ChipSpec>>
      chips_;
};

}  // namespace npu_sim::runtime
