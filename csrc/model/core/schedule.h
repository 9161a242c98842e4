// How tiles fall to cores, and what L2 has to fetch again.
#pragma once

#include "model/core/gemm.h"

namespace npu_sim::model {

// Tiles of the busiest core. `whole` are complete tiles; `part` is the share of a tile that the
// last wave leaves when it is split over idle cores (0: none).
struct Waves {
  double whole = 0;
  double part = 0;

  [[nodiscard]] double total() const { return whole + part; }
};

// `rows` x `columns` tiles (batches and splits of k counted as rows) over the chip's cores.
[[nodiscard]] Waves waves_of(double rows, double columns, const ChipSpec& chip);

// Bytes read from memory for operands of `a` and `b` bytes that meet each other completely: once
// each while both fit in L2, else one side again for every band of the other that fits half of it.
[[nodiscard]] double bytes_read(double a, double b, const ChipSpec& chip);

}  // namespace npu_sim::model
