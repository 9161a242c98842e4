// The answer of the model: how long a kernel takes alone on an idle card, and why.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/units.h"

namespace npu_sim::model {

// The parts of the card (and of its host) that can be busy.
enum class Pipe : std::uint8_t {
  kCube,
  kVector,
  kMte1,     // L1 -> L0
  kMte2,     // GM -> L1 or UB
  kMte3,     // UB -> GM
  kFixpipe,  // L0C -> GM
  kL2,       // between L2 and the cores, reads and writes together
  kHibl,     // device memory, reads and writes together
  kLink,     // host or peer link
  kHost,     // host work of an operator the card lacks
};
inline constexpr std::size_t kPipeCount = 10;

[[nodiscard]] std::string_view name(Pipe pipe);  // "cube", "hibl" ...

// What decided the duration: the launch floor, or one pipe.
struct Bound {
  bool launch = true;
  Pipe pipe = Pipe::kCube;
};
[[nodiscard]] std::string_view name(Bound bound);  // "launch" or the pipe's name

// How much the figure can be trusted; reports say what share of the time each makes.
enum class Provenance : std::uint8_t {
  kRoofline,
  kCalibrated,
  kMicroArchitectural,
  kHostFallback,
  kUndescribed
};
[[nodiscard]] std::string_view name(Provenance provenance);

struct KernelTime {
  base::SimTime duration{};                      // from start to end, alone on the card
  std::array<base::SimTime, kPipeCount> busy{};  // each at most `duration`
  Bound bound{};
  base::Bytes bytes_read{};          // by the kernel, whole transactions, from L2 or through it
  base::Bytes bytes_written{};       // by the kernel, into L2 or through it
  base::Bytes bytes_hit{};           // of bytes_read: L2 held them
  base::Bytes bytes_l2{};            // between L2 and the cores, re-fetches included
  base::Bytes bytes_hibl_read{};     // from device memory
  base::Bytes bytes_hibl_written{};  // to device memory, evicted lines of earlier kernels included
  base::Flops flops{};
  base::Picojoules energy{};
  Provenance provenance = Provenance::kRoofline;

  [[nodiscard]] base::SimTime busy_of(Pipe pipe) const {
    return busy[static_cast<std::size_t>(pipe)];
  }
};

}  // namespace npu_sim::model
