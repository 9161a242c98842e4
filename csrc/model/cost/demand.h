// What a kernel demands of the card, and how that becomes time and energy. One estimator a kind of
// Work fills a Demand; `settle` is the only place that turns demands into durations.
#pragma once

#include "base/format.h"
#include "model/chip/chip_spec.h"
#include "model/cost/kernel_time.h"
#include "model/work/work.h"

namespace npu_sim::model {

// Doubles on purpose: products of sizes near 2^40 exceed 64-bit integers, and every operation here
// is a correctly rounded IEEE one, so the answer is the same on every run and machine.
struct Demand {
  double flops = 0;          // reported arithmetic: multiplies and adds, or element operations
  double cube_seconds = 0;   // at the sustained cube rate
  double cube_flops = 0;     // in units of the 16-bit rate: what they cost in energy
  double vector_ops = 0;     // full-rate fp32 lane operations
  double read_bytes = 0;     // through HiBL, whole transactions
  double written_bytes = 0;  // through HiBL, whole transactions
  double l2_bytes = 0;       // pieces that L2 answers, whole transactions
  double link_seconds = 0;
  double link_bytes = 0;
  double host_seconds = 0;
  bool serial = false;  // link, host and card take turns instead of overlapping
  Provenance provenance = Provenance::kRoofline;
};

[[nodiscard]] KernelTime settle(const Demand& demand, const ChipSpec& chip);

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

// Adds `flops` of a product of `a` and `b` to the cube, or to the vector cores if the cube lacks
// the formats.
void add_product(Demand& demand, double flops, Format a, Format b, const ChipSpec& chip);

// Bytes of `elements` elements with their block scales.
[[nodiscard]] double stored_bytes(double elements, Format format);

[[nodiscard]] inline double number(std::int64_t count) { return static_cast<double>(count); }
[[nodiscard]] inline double number(Bytes bytes) { return static_cast<double>(bytes.count()); }

}  // namespace npu_sim::model
