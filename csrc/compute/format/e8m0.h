// E8M0: a power of two from 2^-127 to 2^127 as its biased exponent; 0xFF is NaN. The scale of an
// MX block. Source: OCP Microscaling Formats 1.0, section 5.4.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace npu_sim::compute {

inline constexpr std::uint8_t kE8m0Nan = 0xFF;

// The code of 2^exponent, clamped to what the format has.
[[nodiscard]] inline std::uint8_t e8m0_of_exponent(int exponent) {
  return static_cast<std::uint8_t>(std::clamp(exponent + 127, 0, 254));
}

[[nodiscard]] inline float decode_e8m0(std::uint8_t code) {
  return code == kE8m0Nan ? NAN : std::ldexp(1.0F, static_cast<int>(code) - 127);
}

}  // namespace npu_sim::compute
