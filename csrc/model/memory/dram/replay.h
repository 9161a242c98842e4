// A kernel's traffic through HiBL, replayed on the chip's DRAM.
#pragma once

#include <string_view>

#include "model/chip/chip_spec.h"
#include "model/memory/dram/dram.h"

namespace npu_sim::model {

// What crosses HiBL. Streams: every core walks through a part of each operand, reads and writes in
// proportion. Pieces: reads and writes of `piece_bytes` at scattered places.
struct DramTraffic {
  double read_bytes = 0;
  double written_bytes = 0;
  double piece_bytes = 0;  // 0: streams
};

// At most so much of a kernel's traffic is replayed as the peak moves in two refresh intervals (11
// MB on a 950PR); the rest runs at the same rate.
[[nodiscard]] double replayed_bytes(const DramSpec& dram);

// The DRAM of a chip: its preset with as many channels as make up hibl_bytes_per_s. `mapping`
// replaces the preset's where it is not empty.
[[nodiscard]] DramSpec dram_of(const ChipSpec& chip, std::string_view mapping = {});

// Replays `traffic`, or a sample of it.
[[nodiscard]] DramResult replay(const DramTraffic& traffic, const ChipSpec& chip,
                                const DramSpec& dram);

// Seconds that the traffic takes HiBL by replay; whole transactions move.
[[nodiscard]] double dram_seconds(const DramTraffic& traffic, const ChipSpec& chip);

}  // namespace npu_sim::model
