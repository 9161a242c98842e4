#include "compute/format/mini_float.h"

#include <algorithm>
#include <cmath>

namespace npu_sim::compute {
namespace {

std::uint8_t sign_bit(const MiniFloat& format) {
  return static_cast<std::uint8_t>(1 << (format.exponent_bits + format.mantissa_bits));
}

// The code of the largest finite value, without a sign.
std::uint8_t largest_code(const MiniFloat& format) {
  const int e = std::ilogb(format.largest);
  const float steps = std::ldexp(format.largest, format.mantissa_bits - e);
  return static_cast<std::uint8_t>(((e + format.bias - 1) << format.mantissa_bits) +
                                   static_cast<int>(steps));
}

std::uint8_t overflow_code(const MiniFloat& format, Overflow overflow) {
  if (overflow == Overflow::kInfinity && format.infinity != 0) return format.infinity;
  if (overflow == Overflow::kInfinity && format.nan != 0) return format.nan;
  return largest_code(format);
}

}  // namespace

std::uint8_t encode(float value, const MiniFloat& format, Rounding rounding, Overflow overflow) {
  if (std::isnan(value)) return format.nan;
  const bool negative = std::signbit(value);
  const std::uint8_t sign = negative ? sign_bit(format) : std::uint8_t{0};
  const float magnitude = std::abs(value);
  if (magnitude == 0) return sign;
  if (std::isinf(magnitude)) return sign | overflow_code(format, overflow);
  // Codes are counted in steps of the exponent's own size; subnormals share the smallest one.
  const int e = std::max(std::ilogb(magnitude), 1 - format.bias);
  const float steps =
      round_magnitude(std::ldexp(magnitude, format.mantissa_bits - e), negative, rounding);
  if (std::ldexp(steps, e - format.mantissa_bits) > format.largest) {
    return sign | overflow_code(format, overflow);
  }
  // The implicit leading one of a normal number carries into the exponent field.
  const int code = ((e + format.bias - 1) << format.mantissa_bits) + static_cast<int>(steps);
  return static_cast<std::uint8_t>(sign | code);
}

float decode(std::uint8_t code, const MiniFloat& format) {
  const int mantissa_range = 1 << format.mantissa_bits;
  const int magnitude = code & (sign_bit(format) - 1);
  const float sign = (code & sign_bit(format)) != 0 ? -1.0F : 1.0F;
  if (format.infinity != 0 && magnitude >= format.infinity) {
    return magnitude == format.infinity ? sign * INFINITY : NAN;
  }
  if (format.infinity == 0 && format.nan != 0 && magnitude == format.nan) return NAN;
  const int field = magnitude / mantissa_range;
  const int mantissa = magnitude % mantissa_range;
  if (field == 0) {
    return sign * std::ldexp(static_cast<float>(mantissa), 1 - format.bias - format.mantissa_bits);
  }
  return sign * std::ldexp(static_cast<float>(mantissa_range + mantissa),
                           field - format.bias - format.mantissa_bits);
}

}  // namespace npu_sim::compute
