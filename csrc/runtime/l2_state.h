// The L2 of every device, as the kernels launched so far leave it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/cost/demand.h"
#include "model/memory/l2.h"

namespace npu_sim::runtime {

// Bytes that a device's L2 holds.
struct L2Contents {
  std::uint64_t capacity = 0;
  std::uint64_t resident = 0;
  std::uint64_t dirty = 0;
};

// Starts full of clean foreign lines: no hits, nothing to write back. Kernels of all streams pass
// in the order of their launches. Freeing memory leaves its lines where they are, as on the card,
// so a block that is used again is warm. Part of the device table, under its timeline lock.
class L2State {
 public:
  explicit L2State(int devices) : caches_(static_cast<std::size_t>(devices)) {}

  model::Residency pass(int device, const model::Demand& demand, const model::Footprint& operands);
  std::uint64_t flush(int device);
  [[nodiscard]] L2Contents contents(int device);
  void reset();  // the chip has changed

 private:
  [[nodiscard]] model::L2& of(int device);

  std::vector<std::unique_ptr<model::L2>> caches_;  // made at a device's first kernel
};

// Fills the device's L2 with clean foreign lines, as a benchmark does that reads more than fits
// before each measured call; takes no simulated time. Returns the dirty bytes it held.
// Throws base::ValueError when there is no such device.
std::uint64_t flush_l2(int device);
[[nodiscard]] L2Contents l2_contents(int device);

}  // namespace npu_sim::runtime
