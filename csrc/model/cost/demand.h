// What a kernel demands of the card, and how that becomes time and energy. One estimator a kind of
// Work fills a Demand; `settle` is the only place that turns demands into durations.
#pragma once

#include "base/format.h"
#include "model/chip/chip_spec.h"
#include "model/cost/kernel_time.h"
#include "model/memory/residency.h"
#include "model/work/work.h"

namespace npu_sim::model {

// The plan of a kernel: all that does not depend on what L2 holds, so it can be memoized by Work.
// Doubles on purpose: products of sizes near 2^40 exceed 64-bit integers, and every operation here
// is a correctly rounded IEEE one, so the answer is the same on every run and machine.
struct Demand {
  double flops = 0;       // reported arithmetic: multiplies and adds, or element operations
  double cube_flops = 0;  // in units of the 16-bit rate: what the cube's work costs in energy
  double vector_ops =
      0;  // full-rate fp32 lane operations: energy, and the vector pipe's least time

  // Pipes of the busiest core, waves included: they overlap with one another and with memory.
  double cube_seconds = 0;
  double vector_seconds = 0;  // settle takes at least vector_ops at the card's full rate
  double mte1_seconds = 0;
  double mte2_seconds = 0;
  double mte3_seconds = 0;
  double fixpipe_seconds = 0;
  // The busiest core from first to last command where its pipes wait for one another and memory
  // does not; never counts for less than the slowest pipe.
  double core_seconds = 0;

  // What overlaps with nothing. start: beyond the chip's launch floor, for kinds that start slower
  // (cube, MIX); head and tail: filling and draining the pipeline, phases of their own; sync: cores
  // that wait for each other.
  double start_seconds = 0;
  double head_seconds = 0;
  double tail_seconds = 0;
  double sync_seconds = 0;

  // Bytes in whole transactions. Read and written cross HiBL where L2 neither holds nor absorbs
  // them; reads that L2 cannot keep until they are wanted again count each time.
  double read_bytes = 0;
  double written_bytes = 0;
  double l2_bytes = 0;     // between L2 and the cores, re-fetches included; at least read + written
  bool streams = false;    // hint: what it reads is not kept in L2
  double piece_bytes = 0;  // HiBL's traffic is in pieces of this size at scattered places; 0: dense

  double link_seconds = 0;
  double link_bytes = 0;
  double host_seconds = 0;
  bool serial = false;  // link, host and card take turns instead of overlapping
  Provenance provenance = Provenance::kRoofline;
};

[[nodiscard]] inline Traffic traffic_of(const Demand& demand) {
  return {.read_bytes = demand.read_bytes,
          .written_bytes = demand.written_bytes,
          .streams = demand.streams};
}

// The time of `demand` when L2 answers `residency`. Runs at every launch.
[[nodiscard]] KernelTime settle(const Demand& demand, const Residency& residency,
                                const ChipSpec& chip);

// What is left of a plan at roofline fidelity: peaks, and bytes that all cross HiBL.
[[nodiscard]] Demand roofline_of(Demand demand, const ChipSpec& chip);

// What L2 answers a kernel that runs alone on a card whose L2 is full of clean foreign lines: no
// read hits, and of what it writes the share stays that fits beside what it reads.
[[nodiscard]] Residency alone(const Demand& demand, const ChipSpec& chip);

// Seconds that `read` and `written` bytes take HiBL. The bytes that can be paired with traffic in
// the other direction run at the mixed efficiency, the surplus of one direction at the read one.
[[nodiscard]] double hibl_seconds(double read, double written, const ChipSpec& chip);

// fp32 lane operations that `ops` operations an element on `elements` elements of `format` take.
[[nodiscard]] double vector_lane_ops(double elements, double ops, Format format,
                                     const ChipSpec& chip);
// Full-rate operations an element that `linear` and `special` instructions take.
[[nodiscard]] double ops_of(std::int16_t linear, std::int16_t special, const ChipSpec& chip);

// Lanes of one vector core, in fp32 elements.
[[nodiscard]] double vector_lanes(const ChipSpec& chip);

// Counts `flops` of a product of `a` and `b` and their energy. False: the cube lacks the formats
// and the vector cores multiply, which is then counted too.
bool count_product(Demand& demand, double flops, Format a, Format b, const ChipSpec& chip);

// The same, and the cube's time at its peak rate: for kernels that are not planned tile by tile.
void add_product(Demand& demand, double flops, Format a, Format b, const ChipSpec& chip);

// Bytes of `elements` elements with their block scales.
[[nodiscard]] double stored_bytes(double elements, Format format);

[[nodiscard]] inline double number(std::int64_t count) { return static_cast<double>(count); }
[[nodiscard]] inline double number(Bytes bytes) { return static_cast<double>(bytes.count()); }

}  // namespace npu_sim::model
