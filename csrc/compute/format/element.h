// The narrow number formats that the card's quantisation kernels write, and arrays of them.
#pragma once

#include <cstdint>
#include <span>

#include "compute/format/mini_float.h"

namespace npu_sim::compute {

enum class Element : std::uint8_t { kInt8, kInt4, kE4m3, kE5m2, kHifloat8, kE2m1, kE1m2 };

// The largest finite value, which a scale maps the largest magnitude to.
[[nodiscard]] float largest(Element element);
// The exponent of `largest`: what the shared exponent of an MX block is taken against.
[[nodiscard]] int largest_exponent(Element element);
[[nodiscard]] int bits(Element element);

// One code a byte for each value, saturating; integers round and clamp to [-largest - 1, largest].
// The sizes must agree.
void encode_all(std::span<const float> values, Element element, Rounding rounding,
                std::span<std::uint8_t> codes);
void decode_all(std::span<const std::uint8_t> codes, Element element, std::span<float> values);

// Two codes of 4 bits to a byte, the first in the low half. `packed` may be `codes` itself.
void pack_nibbles(std::span<const std::uint8_t> codes, std::span<std::uint8_t> packed);
void unpack_nibbles(std::span<const std::uint8_t> packed, std::span<std::uint8_t> codes);

}  // namespace npu_sim::compute
