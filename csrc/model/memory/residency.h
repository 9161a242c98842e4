// What L2 answered one kernel.
#pragma once

namespace npu_sim::model {

// Bytes in doubles, as a Demand has them. HiBL carries read - hit, and written - absorbed +
// evicted.
struct Residency {
  double hit_bytes = 0;       // of the bytes read: L2 held them
  double absorbed_bytes = 0;  // of the bytes written: dirty in L2 when the kernel ends
  double evicted_bytes = 0;   // dirty lines of earlier kernels that this one pushed out to HiBL

  bool operator==(const Residency&) const = default;
};

}  // namespace npu_sim::model
