// The movers of one cube core: MTE2 (L2 -> L1) and MTE1 (L1 -> L0A and L0B).
#pragma once

#include "model/core/gemm.h"

namespace npu_sim::model {

// Bytes of one row of k elements of the left or right operand in memory, scales at their own cost.
[[nodiscard]] double fetch_bytes(double elements, Format format, const ChipSpec& chip);

// Seconds one core fetches the operands of one tile: (m + n) x k.
[[nodiscard]] double mte2_seconds(const GemmShape& shape, const Tile& tile, double k,
                                  const ChipSpec& chip);

// Seconds one core loads the operands of one tile into L0.
[[nodiscard]] double mte1_seconds(const GemmShape& shape, const Tile& tile, double k,
                                  const ChipSpec& chip);

}  // namespace npu_sim::model
