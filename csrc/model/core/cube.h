// The multiply unit of one cube core.
#pragma once

#include "base/format.h"
#include "model/chip/chip_spec.h"

namespace npu_sim::model {

using base::Format;

// Peak of the whole card for one operand's format; 0: the cube does not multiply it.
[[nodiscard]] double cube_peak(Format format, const ChipSpec& chip);

// The format two operands are multiplied in: the one with the lower rate.
[[nodiscard]] Format multiply_format(Format a, Format b, const ChipSpec& chip);

// What a core's cube sustains of it in one long product, over the whole card.
[[nodiscard]] double sustained_peak(Format format, const ChipSpec& chip);

// Bits an operand takes in L1 and L0.
[[nodiscard]] double cube_bits(Format format, const ChipSpec& chip);

// Elements of k that one step of the array takes: 32 bytes.
[[nodiscard]] double grain_of_k(Format format, const ChipSpec& chip);

// Seconds one core multiplies [m, k] by [k, n] with commands of `command_k`.
[[nodiscard]] double cube_seconds(double m, double n, double k, double command_k, Format format,
                                  const ChipSpec& chip);

// `value` rounded up to a multiple of `grain`.
[[nodiscard]] double rounded_up(double value, double grain);

}  // namespace npu_sim::model
