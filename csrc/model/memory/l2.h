// The L2 of one card between kernels: which bytes of memory it holds, and which of them are dirty.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/chip/chip_spec.h"
#include "model/memory/lru_ranges.h"
#include "model/memory/residency.h"

namespace npu_sim::model {

// Addresses of a kernel's operands. Ranges may overlap; an operand that is read and written stands
// in both lists.
struct Footprint {
  std::span<const AddressRange> read = {};
  std::span<const AddressRange> written = {};
};

// Kernels pass one after the other. A large one walks through all its operands side by side in
// steps, so that what it keeps and what it pushes out is in proportion. Where an operand is larger
// than the bytes that the kernel moves (a gather's table), the largest is touched at unknown
// places: hits in proportion to the resident share, and lines of no known address come in. The same
// holds for bytes of operands that the footprint does not name.
class L2 {
 public:
  // Starts full of clean foreign lines, as after reading more than fits.
  explicit L2(const ChipSpec& chip);

  Residency pass(const Traffic& traffic, const Footprint& footprint);

  // Writes everything back and fills with clean foreign lines; returns the bytes written back.
  std::uint64_t flush() { return lines_.clear(); }

  [[nodiscard]] std::uint64_t capacity() const { return lines_.capacity(); }
  [[nodiscard]] std::uint64_t resident_bytes() const { return lines_.resident(); }
  [[nodiscard]] std::uint64_t dirty_bytes() const { return lines_.dirty(); }
  [[nodiscard]] std::uint64_t find(AddressRange range) const { return lines_.find(range); }

 private:
  struct Operand {
    AddressRange range;         // of whole lines
    std::uint64_t unnamed = 0;  // bytes touched at unknown places instead of the whole range
    double hit_share = 0;       // of the unnamed bytes
    bool sparse = false;
  };
  struct Counts {
    double touched = 0;
    double hit = 0;
  };

  Residency pass_unnamed(const Traffic& traffic);
  void list(std::vector<Operand>& operands, std::span<const AddressRange> ranges, double bytes);
  [[nodiscard]] std::uint64_t steps_for(const Traffic& traffic) const;
  Counts read_step(std::uint64_t step, std::uint64_t steps, bool streams);
  void write_step(std::uint64_t step, std::uint64_t steps);
  AddressRange unnamed_range(std::uint64_t bytes);

  double kept_;
  LruRanges lines_;
  std::uint64_t next_unnamed_;
  std::vector<Operand> read_;     // scratch of pass()
  std::vector<Operand> written_;  // likewise
};

}  // namespace npu_sim::model
