#include "compute/format/hifloat8.h"

#include <array>
#include <cmath>
#include <cstdlib>

namespace npu_sim::compute {
namespace {

constexpr std::uint8_t kSign = 0x80;
constexpr std::uint8_t kNan = 0x80;
constexpr std::uint8_t kInfinity = 0x6F;
constexpr std::uint8_t kLargest = 0x6E;
constexpr int kSmallestNormal = -15;
constexpr int kSubnormalBias = 23;

// Bits that the magnitude of an exponent takes with its leading one: 0 for 0, 4 for 8..15.
int exponent_width(int e) {
  int width = 0;
  for (int rest = std::abs(e); rest > 0; rest /= 2) ++width;
  return width;
}

int mantissa_width(int width) { return width <= 2 ? 3 : 5 - width; }

// The prefix code in its place below the sign.
int dot(int width) {
  constexpr std::array kDots = {0b0001000, 0b0010000, 0b0100000, 0b1000000, 0b1100000};
  return kDots[static_cast<std::size_t>(width)];
}

// The code of 2^e (1 + mantissa / 2^mantissa_width), without a sign.
std::uint8_t normal_code(int e, int mantissa) {
  const int width = exponent_width(e);
  const int bits = mantissa_width(width);
  int field = 0;
  if (width > 0) {
    const int below_leading_one = std::abs(e) - (1 << (width - 1));
    field = (e < 0 ? 1 << (width - 1) : 0) | below_leading_one;
  }
  return static_cast<std::uint8_t>(dot(width) | (field << bits) | mantissa);
}

std::uint8_t overflow_code(Overflow overflow) {
  return overflow == Overflow::kInfinity ? kInfinity : kLargest;
}

}  // namespace

std::uint8_t encode_hifloat8(float value, Rounding rounding, Overflow overflow) {
  if (std::isnan(value)) return kNan;
  const bool negative = std::signbit(value);
  const std::uint8_t sign = negative ? kSign : std::uint8_t{0};
  const float magnitude = std::abs(value);
  if (magnitude == 0) return 0;
  if (magnitude >= 2 * kHifloat8Largest) return sign | overflow_code(overflow);
  constexpr int kSmallest = 1 - kSubnormalBias;
  int e = std::max(std::ilogb(magnitude), kSmallest);
  const int bits = e < kSmallestNormal ? 0 : mantissa_width(exponent_width(e));
  const float steps = round_magnitude(std::ldexp(magnitude, bits - e), negative, rounding);
  int mantissa = static_cast<int>(steps) - (1 << bits);
  if (mantissa < 0) return 0;   // nearer to zero than to the smallest number
  if (mantissa == 1 << bits) {  // rounded up to the next power of two
    ++e;
    mantissa = 0;
  }
  if (e < kSmallestNormal) return static_cast<std::uint8_t>(sign | (e + kSubnormalBias));
  const bool beyond = e > 15 || (e == 15 && mantissa > 0);
  return sign | (beyond ? overflow_code(overflow) : normal_code(e, mantissa));
}

float decode_hifloat8(std::uint8_t code) {
  if (code == kNan) return NAN;
  const float sign = (code & kSign) != 0 ? -1.0F : 1.0F;
  const int magnitude = code & ~kSign;
  if (magnitude == kInfinity) return sign * INFINITY;
  if (magnitude == 0) return 0;
  if (magnitude < dot(0)) return sign * std::ldexp(1.0F, magnitude - kSubnormalBias);
  int width = 4;
  while (magnitude < dot(width)) --width;
  const int bits = mantissa_width(width);
  const int field = (magnitude - dot(width)) >> bits;
  const int mantissa = magnitude & ((1 << bits) - 1);
  int e = 0;
  if (width > 0) {
    const int half = 1 << (width - 1);
    e = half + (field & (half - 1));
    if ((field & half) != 0) e = -e;
  }
  return sign * std::ldexp(static_cast<float>((1 << bits) + mantissa), e - bits);
}

}  // namespace npu_sim::compute
