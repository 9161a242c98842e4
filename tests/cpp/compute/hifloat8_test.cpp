#include "compute/format/hifloat8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace npu_sim::compute {
namespace {

TEST(Hifloat8, EveryCodeComesBack) {
  for (int code = 0; code < 256; ++code) {
    const float value = decode_hifloat8(static_cast<std::uint8_t>(code));
    if (std::isnan(value)) {
      EXPECT_EQ(code, 0x80);
      continue;
    }
    EXPECT_EQ(encode_hifloat8(value, Rounding::kRound, Overflow::kInfinity), code) << value;
  }
}

TEST(Hifloat8, CodesHaveTheValuesOfTheFormatsDefinition) {
  EXPECT_EQ(decode_hifloat8(0b0'0000'001), 0x1p-22F);  // the smallest subnormal
  EXPECT_EQ(decode_hifloat8(0b0'0000'111), 0x1p-16F);  // the largest
  EXPECT_EQ(decode_hifloat8(0b0'0001'000), 1.0F);      // dot 0: exponent 0
  EXPECT_EQ(decode_hifloat8(0b0'0001'111), 1.875F);
  EXPECT_EQ(decode_hifloat8(0b0'001'0'000), 2.0F);       // dot 1: exponent +1
  EXPECT_EQ(decode_hifloat8(0b0'001'1'100), 0.75F);      // dot 1: exponent -1
  EXPECT_EQ(decode_hifloat8(0b0'01'01'001), 9.0F);       // dot 2: exponent +3
  EXPECT_EQ(decode_hifloat8(0b0'10'100'01), 0x1.4p-4F);  // dot 3: exponent -4
  EXPECT_EQ(decode_hifloat8(0b0'11'0111'0), 0x1p15F);    // dot 4: exponent +15
  EXPECT_EQ(decode_hifloat8(0b0'11'1111'1), 0x1.8p-15F);
  EXPECT_TRUE(std::isinf(decode_hifloat8(0x6F)));
  EXPECT_TRUE(std::isnan(decode_hifloat8(0x80)));
}

TEST(Hifloat8, AllCodesAreDifferentNumbers) {
  std::set<float> values;
  for (int code = 0; code < 256; ++code) {
    const float value = decode_hifloat8(static_cast<std::uint8_t>(code));
    if (!std::isnan(value)) values.insert(value);
  }
  EXPECT_EQ(values.size(), 255U);
}

TEST(Hifloat8, NumbersGoToTheNearestCodeAndTiesAway) {
  for (int i = -4000; i <= 4000; ++i) {
    const float value = static_cast<float>(i) * 0.01F;
    const float got = decode_hifloat8(encode_hifloat8(value));
    for (int code = 0; code < 256; ++code) {
      const float other = decode_hifloat8(static_cast<std::uint8_t>(code));
      if (!std::isfinite(other)) continue;
      const double mine = std::abs(static_cast<double>(got) - value);
      const double theirs = std::abs(static_cast<double>(other) - value);
      ASSERT_LE(mine, theirs) << value << " went to " << got << " instead of " << other;
      if (mine == theirs) {
        ASSERT_GE(std::abs(got), std::abs(other));
      }
    }
  }
}

TEST(Hifloat8, WhatIsTooLargeSaturatesOrOverflows) {
  EXPECT_EQ(decode_hifloat8(encode_hifloat8(1e9F)), kHifloat8Largest);
  EXPECT_EQ(decode_hifloat8(encode_hifloat8(-1e9F)), -kHifloat8Largest);
  EXPECT_TRUE(
      std::isinf(decode_hifloat8(encode_hifloat8(1e9F, Rounding::kRound, Overflow::kInfinity))));
}

TEST(Hifloat8, WhatIsTooSmallBecomesZero) {
  EXPECT_EQ(encode_hifloat8(0x1p-24F), 0);
  EXPECT_EQ(encode_hifloat8(-0.0F), 0);
  EXPECT_EQ(decode_hifloat8(encode_hifloat8(0x1p-23F)), 0x1p-22F);  // a tie goes away from zero
}

}  // namespace
}  // namespace npu_sim::compute
