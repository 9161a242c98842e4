#include "compute/format/mini_float.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace npu_sim::compute {
namespace {

std::uint8_t sign_bit(const MiniFloat& format) {
  return static_cast<std::uint8_t>(1 << (format.exponent_bits + format.mantissa_bits));
}

std::uint8_t overflow_code(const MiniFloat& format, Overflow overflow) {
  if (overflow == Overflow::kInfinity && format.infinity != 0) return format.infinity;
  if (overflow == Overflow::kInfinity && format.nan != 0) return format.nan;
  return format.largest_code;
}

}  // namespace

std::uint8_t encode(float value, const MiniFloat& format, Rounding rounding, Overflow overflow) {
  constexpr int kFp32Bias = 127;
  constexpr int kFp32Mantissa = 23;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return format.nan;
  const bool negative = bits >> 31 != 0;
  const std::uint8_t sign = negative ? sign_bit(format) : std::uint8_t{0};
  const float magnitude = std::abs(value);
  if (std::isinf(magnitude)) return sign | overflow_code(format, overflow);
  // Codes are counted in steps of the exponent's own size; subnormals share the smallest one.
  const int field = static_cast<int>((bits >> kFp32Mantissa) & 0xFF);
  const int e = std::max(field - kFp32Bias, 1 - format.bias);
  const auto steps_a_unit = std::bit_cast<float>(
      static_cast<std::uint32_t>(kFp32Bias + format.mantissa_bits - e) << kFp32Mantissa);
  const float steps = round_magnitude(magnitude * steps_a_unit, negative, rounding);
  // The implicit leading one of a normal number carries into the exponent field.
  const int code = ((e + format.bias - 1) << format.mantissa_bits) + static_cast<int>(steps);
  if (code > format.largest_code) return sign | overflow_code(format, overflow);
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
