// HiFloat8: eight bits whose precision tapers off with the size of the exponent.
//
// After the sign comes a prefix code (the "dot") that says how many exponent bits follow:
//
//   11 -> 4, 10 -> 3, 01 -> 2, 001 -> 1, 0001 -> 0, 0000 -> none: a subnormal
//
// The exponent is a sign and the magnitude without its leading one; the rest is mantissa: 1, 2, 3,
// 3, 3 bits. |E| is then 8..15, 4..7, 2..3, 1, 0. A subnormal with the three bits M is 2^(M - 23).
// 0x00 is zero, 0x80 NaN, 0x6F infinity (the code that would be 1.5 * 2^15).
// Source: Luo et al., "Ascend HiFloat8 Format for Deep Learning", arXiv 2409.16626.
#pragma once

#include <cstdint>

#include "compute/format/mini_float.h"

namespace npu_sim::compute {

inline constexpr float kHifloat8Largest = 32768.0F;

// The code nearest to `value`. Half the smallest number, 2^-23, and what is nearer to zero than
// that go to zero by `rounding`; zero has no sign.
[[nodiscard]] std::uint8_t encode_hifloat8(float value, Rounding rounding = Rounding::kRound,
                                           Overflow overflow = Overflow::kSaturate);

[[nodiscard]] float decode_hifloat8(std::uint8_t code);

}  // namespace npu_sim::compute
