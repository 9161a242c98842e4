#include "compute/format/element.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

namespace npu_sim::compute {
namespace {

constexpr Element kAll[] = {Element::kInt8,     Element::kInt4, Element::kE4m3, Element::kE5m2,
                            Element::kHifloat8, Element::kE2m1, Element::kE1m2};

std::vector<std::uint8_t> encoded(std::vector<float> values, Element element,
                                  Rounding rounding = Rounding::kRint) {
  std::vector<std::uint8_t> codes(values.size());
  encode_all(values, element, rounding, codes);
  return codes;
}

TEST(Element, EveryFiniteCodeComesBackFromItsValue) {
  for (const Element element : kAll) {
    std::vector<std::uint8_t> codes;
    for (int code = 0; code < 1 << bits(element); ++code) {
      codes.push_back(static_cast<std::uint8_t>(code));
    }
    std::vector<float> values(codes.size());
    decode_all(codes, element, values);
    const std::vector<std::uint8_t> back = encoded(values, element, Rounding::kRound);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      if (std::isfinite(values[i])) {
        EXPECT_EQ(back[i], codes[i]) << values[i];
      }
    }
  }
}

TEST(Element, TheLargestValueHasACodeAndWhatIsLargerSaturates) {
  for (const Element element : kAll) {
    const std::vector<std::uint8_t> codes = encoded({largest(element), 1e30F}, element);
    EXPECT_EQ(codes[0], codes[1]);
    std::array<float, 1> value{};
    decode_all(std::span(codes).first(1), element, value);
    EXPECT_EQ(value[0], largest(element));
  }
}

TEST(Element, IntegersRoundAndClamp) {
  EXPECT_EQ(encoded({2.5F, 3.5F, -2.5F, 200, -200}, Element::kInt8),
            (std::vector<std::uint8_t>{2, 4, 0xFE, 127, 0x80}));
  EXPECT_EQ(encoded({7.6F, -9, -1}, Element::kInt4), (std::vector<std::uint8_t>{7, 8, 15}));
}

TEST(Element, NibblesPackTheFirstCodeIntoTheLowHalf) {
  const std::array<std::uint8_t, 4> codes = {1, 2, 15, 8};
  std::array<std::uint8_t, 2> packed{};
  pack_nibbles(codes, packed);
  EXPECT_EQ(packed, (std::array<std::uint8_t, 2>{0x21, 0x8F}));
  std::array<std::uint8_t, 4> back{};
  unpack_nibbles(packed, back);
  EXPECT_EQ(back, codes);
}

TEST(Element, LargestExponentsAreThoseOfTheMicroscalingFormats) {
  EXPECT_EQ(largest_exponent(Element::kE4m3), 8);
  EXPECT_EQ(largest_exponent(Element::kE5m2), 15);
  EXPECT_EQ(largest_exponent(Element::kE2m1), 2);
}

}  // namespace
}  // namespace npu_sim::compute
