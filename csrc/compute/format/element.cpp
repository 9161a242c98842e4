#include "compute/format/element.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "compute/format/hifloat8.h"

namespace npu_sim::compute {
namespace {

constexpr float kInt8Largest = 127;
constexpr float kInt4Largest = 7;
constexpr std::uint8_t kNibble = 0x0F;

const MiniFloat& mini_float(Element element) {
  switch (element) {
    case Element::kE5m2: return kE5m2;
    case Element::kE2m1: return kE2m1;
    case Element::kE1m2: return kE1m2;
    default: return kE4m3;
  }
}

bool is_integer(Element element) { return element == Element::kInt8 || element == Element::kInt4; }

std::uint8_t encode_integer(float value, float most, Rounding rounding) {
  if (std::isnan(value)) return 0;
  const float magnitude = round_magnitude(std::abs(value), std::signbit(value), rounding);
  const float rounded = std::clamp(std::copysign(magnitude, value), -most - 1, most);
  return static_cast<std::uint8_t>(static_cast<std::int8_t>(rounded));
}

float decode_integer(std::uint8_t code, Element element) {
  // Shifted up and down again, the sign of 4 bits fills the upper half.
  if (element == Element::kInt8) return static_cast<std::int8_t>(code);
  const auto above = static_cast<std::int8_t>(static_cast<std::uint8_t>(code << 4));
  return static_cast<float>(above >> 4);
}

std::uint8_t encode_one(float value, Element element, Rounding rounding) {
  if (is_integer(element)) return encode_integer(value, largest(element), rounding);
  if (element == Element::kHifloat8) return encode_hifloat8(value, rounding);
  return encode(value, mini_float(element), rounding);
}

float decode_one(std::uint8_t code, Element element) {
  if (is_integer(element)) return decode_integer(code, element);
  return element == Element::kHifloat8 ? decode_hifloat8(code) : decode(code, mini_float(element));
}

}  // namespace

float largest(Element element) {
  switch (element) {
    case Element::kInt8: return kInt8Largest;
    case Element::kInt4: return kInt4Largest;
    case Element::kHifloat8: return kHifloat8Largest;
    default: return mini_float(element).largest;
  }
}

int largest_exponent(Element element) { return std::ilogb(largest(element)); }

int bits(Element element) {
  const bool narrow =
      element == Element::kInt4 || element == Element::kE2m1 || element == Element::kE1m2;
  return narrow ? 4 : 8;
}

void encode_all(std::span<const float> values, Element element, Rounding rounding,
                std::span<std::uint8_t> codes) {
  const std::uint8_t mask = bits(element) == 4 ? kNibble : std::uint8_t{0xFF};
  std::ranges::transform(values, codes.begin(), [&](float value) {
    return static_cast<std::uint8_t>(encode_one(value, element, rounding) & mask);
  });
}

void decode_all(std::span<const std::uint8_t> codes, Element element, std::span<float> values) {
  std::array<float, 256> table{};
  for (std::size_t code = 0; code < table.size(); ++code) {
    table[code] = decode_one(static_cast<std::uint8_t>(code), element);
  }
  std::ranges::transform(codes, values.begin(), [&](std::uint8_t code) { return table[code]; });
}

void pack_nibbles(std::span<const std::uint8_t> codes, std::span<std::uint8_t> packed) {
  for (std::size_t i = 0; i < packed.size(); ++i) {
    packed[i] = static_cast<std::uint8_t>((codes[2 * i] & kNibble) | (codes[2 * i + 1] << 4));
  }
}

void unpack_nibbles(std::span<const std::uint8_t> packed, std::span<std::uint8_t> codes) {
  for (std::size_t i = 0; i < packed.size(); ++i) {
    codes[2 * i] = packed[i] & kNibble;
    codes[2 * i + 1] = static_cast<std::uint8_t>(packed[i] >> 4);
  }
}

}  // namespace npu_sim::compute
