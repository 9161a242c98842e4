// Address -> channel, bank and row, by a mapping string such as "rorabgbachco".
#pragma once

#include <array>
#include <cstdint>

#include "model/chip/dram_spec.h"

namespace npu_sim::model {

struct DramPlace {
  std::int32_t channel = 0;
  std::int32_t bank = 0;        // of the channel: (rank * bank_groups + group) * banks + bank
  std::int32_t bank_group = 0;  // of the channel: rank * bank_groups + group
  std::int64_t row = 0;
};

// Reads the fields of DramSpec::mapping from its end, the least significant. Each of ro, ra, bg,
// ba, ch and co stands once; co may stand twice: the lower one then holds one interleave, the upper
// the rest of the row. Rows count on without end. Throws base::ValueError for any other string.
class AddressMap {
 public:
  explicit AddressMap(const DramSpec& spec);

  [[nodiscard]] DramPlace place(std::uint64_t address) const;

 private:
  enum Field : std::uint8_t { kRow, kRank, kGroup, kBank, kChannel, kColumn, kFields };
  struct Part {
    Field field = kColumn;
    std::uint32_t size = 1;
    std::int32_t shift = -1;  // log2 of the size where it is a power of two
  };

  [[nodiscard]] static Field field_of(const DramSpec& spec, char first, char second);
  void check(const DramSpec& spec) const;

  std::uint32_t burst_bytes_;
  std::int32_t bank_groups_;
  std::int32_t banks_;
  std::uint64_t hash_ = 0;                 // bits of the row that are XORed into bank and group
  std::array<Part, kFields + 1> parts_{};  // least significant first
  std::size_t count_ = 0;
};

}  // namespace npu_sim::model
