// What L2 answered one kernel.
#pragma once

#include "model/chip/chip_spec.h"

namespace npu_sim::model {

// Bytes in doubles, as a Demand has them. HiBL carries read - hit, and written - absorbed +
// evicted.
struct Residency {
  double hit_bytes = 0;       // of the bytes read: L2 held them
  double absorbed_bytes = 0;  // of the bytes written: dirty in L2 when the kernel ends
  double evicted_bytes = 0;   // dirty lines of earlier kernels that this one pushed out to HiBL

  bool operator==(const Residency&) const = default;
};

// What moves between a kernel and L2; see Demand.
struct Traffic {
  double read_bytes = 0;
  double written_bytes = 0;
  bool streams = false;  // reads leave nothing behind
};

// Bytes that the latest traffic can occupy.
[[nodiscard]] double kept_bytes(const ChipSpec& chip);

// What an L2 full of clean foreign lines answers a kernel of distinct bytes: no read hits; of what
// it writes the share stays that fits beside what it reads.
[[nodiscard]] Residency residency_among_clean_lines(const Traffic& traffic, double kept);

}  // namespace npu_sim::model
