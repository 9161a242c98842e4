// Floats of 4, 6 and 8 bits with a fixed exponent field: the OCP formats.
//
// Source: OCP 8-bit Floating Point Specification 1.0 and OCP Microscaling Formats 1.0.
#pragma once

#include <cstdint>

#include "compute/format/rounding.h"

namespace npu_sim::compute {

// Sign, `exponent_bits`, `mantissa_bits`, from the top.
struct MiniFloat {
  int exponent_bits = 0;
  int mantissa_bits = 0;
  int bias = 0;
  float largest = 0;              // the largest finite value
  std::uint8_t largest_code = 0;  // and its code
  std::uint8_t nan = 0;           // a code of NaN; 0: the format has none
  std::uint8_t infinity = 0;      // the code of +infinity; 0: the format has none
};

inline constexpr MiniFloat kE4m3{4, 3, 7, 448.0F, 0x7E, 0x7F, 0};
inline constexpr MiniFloat kE5m2{5, 2, 15, 57344.0F, 0x7B, 0x7E, 0x7C};
inline constexpr MiniFloat kE3m2{3, 2, 3, 28.0F, 0x1F, 0, 0};
inline constexpr MiniFloat kE2m3{2, 3, 1, 7.5F, 0x1F, 0, 0};
inline constexpr MiniFloat kE2m1{2, 1, 1, 6.0F, 0x07, 0, 0};
inline constexpr MiniFloat kE1m2{1, 2, 1, 1.75F, 0x07, 0, 0};

// What becomes of a number beyond the largest finite one.
enum class Overflow : std::uint8_t {
  kSaturate,  // the largest finite value of its sign
  kInfinity,  // infinity where the format has it, else NaN, else the largest finite value
};

// The code nearest to `value` by `rounding`. NaN gives the format's NaN, or 0 where it has none;
// the sign of a zero is kept.
[[nodiscard]] std::uint8_t encode(float value, const MiniFloat& format, Rounding rounding,
                                  Overflow overflow = Overflow::kSaturate);

// The value of `code`, exactly.
[[nodiscard]] float decode(std::uint8_t code, const MiniFloat& format);

}  // namespace npu_sim::compute
