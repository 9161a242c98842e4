#include "compute/format/mini_float.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"
#include "compute/format/e8m0.h"

namespace npu_sim::compute {
namespace {

struct Case {
  const char* name;
  MiniFloat format;
  std::vector<float> first;  // values of codes 0, 1, 2 ... from the specification's tables
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"e2m1", kE2m1, {0, 0.5, 1, 1.5, 2, 3, 4, 6}},
      {"e1m2", kE1m2, {0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75}},
      {"e3m2", kE3m2, {0, 0.0625, 0.125, 0.1875, 0.25, 0.3125}},
      {"e2m3", kE2m3, {0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1, 1.125}},
      {"e4m3", kE4m3, {0, 0x1p-9F, 0x1p-8F, 0x1.8p-8F, 0x1p-7F}},
      {"e5m2", kE5m2, {0, 0x1p-16F, 0x1p-15F, 0x1.8p-15F, 0x1p-14F, 0x1.4p-14F}},
  };
  return all;
}

int codes_of(const MiniFloat& format) { return 2 << (format.exponent_bits + format.mantissa_bits); }

TEST(MiniFloat, SmallCodesHaveTheSpecificationsValues) {
  for (const Case& one : cases()) {
    for (std::size_t code = 0; code < one.first.size(); ++code) {
      EXPECT_EQ(decode(static_cast<std::uint8_t>(code), one.format), one.first[code]) << one.name;
    }
  }
}

TEST(MiniFloat, EveryCodeComesBack) {
  constexpr Rounding kAll[] = {Rounding::kRint, Rounding::kRound, Rounding::kFloor, Rounding::kCeil,
                               Rounding::kTrunc};
  for (const Case& one : cases()) {
    for (int code = 0; code < codes_of(one.format); ++code) {
      const float value = decode(static_cast<std::uint8_t>(code), one.format);
      if (std::isnan(value)) continue;
      for (const Rounding rounding : kAll) {
        EXPECT_EQ(encode(value, one.format, rounding, Overflow::kInfinity), code) << one.name;
      }
    }
  }
}

TEST(MiniFloat, TheLargestValueIsTheSpecifications) {
  EXPECT_EQ(decode(0x7E, kE4m3), 448);
  EXPECT_EQ(decode(0x7B, kE5m2), 57344);
  EXPECT_EQ(decode(0x07, kE2m1), 6);
}

// A number of fp16 as a float, by the definition of the format.
float half_value(std::uint16_t bits) {
  const int e = (bits >> 10) & 31;
  const int m = bits & 1023;
  const float magnitude = e == 0 ? std::ldexp(static_cast<float>(m), -24)
                                 : std::ldexp(static_cast<float>(1024 + m), e - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// The nearest code by looking at all of them; ties to the even code.
std::uint8_t nearest_by_search(float value, const MiniFloat& format) {
  int best = 0;
  double distance = std::numeric_limits<double>::infinity();
  for (int code = 0; code < codes_of(format); ++code) {
    const double candidate = decode(static_cast<std::uint8_t>(code), format);
    if (!std::isfinite(candidate) || std::signbit(candidate) != std::signbit(value)) continue;
    const double d = std::abs(candidate - static_cast<double>(value));
    if (d < distance || (d == distance && code % 2 == 0)) {
      best = code;
      distance = d;
    }
  }
  return static_cast<std::uint8_t>(best);
}

TEST(MiniFloat, EveryNumberOfFp16GoesToTheNearestCode) {
  for (const Case& one : cases()) {
    for (int bits = 0; bits < 0x10000; ++bits) {
      if (((bits >> 10) & 31) == 31) continue;  // infinities and NaNs
      const float value = half_value(static_cast<std::uint16_t>(bits));
      ASSERT_EQ(encode(value, one.format, Rounding::kRint), nearest_by_search(value, one.format))
          << one.name << " " << value;
    }
  }
}

TEST(MiniFloat, DirectedRoundingBracketsTheValue) {
  for (const Case& one : cases()) {
    for (int i = -2000; i <= 2000; ++i) {
      const float value = static_cast<float>(i) * one.format.largest / 2001.0F;
      const float low = decode(encode(value, one.format, Rounding::kFloor), one.format);
      const float high = decode(encode(value, one.format, Rounding::kCeil), one.format);
      const float cut = decode(encode(value, one.format, Rounding::kTrunc), one.format);
      ASSERT_LE(low, value);
      ASSERT_GE(high, value);
      ASSERT_EQ(cut, value < 0 ? high : low);
    }
  }
}

TEST(MiniFloat, TiesGoToEvenByRintAndAwayByRound) {
  EXPECT_EQ(decode(encode(2.5F, kE2m1, Rounding::kRint), kE2m1), 2);
  EXPECT_EQ(decode(encode(2.5F, kE2m1, Rounding::kRound), kE2m1), 3);
  EXPECT_EQ(decode(encode(-2.5F, kE2m1, Rounding::kRound), kE2m1), -3);
}

TEST(MiniFloat, WhatIsTooLargeSaturatesOrOverflows) {
  EXPECT_EQ(encode(1e9F, kE4m3, Rounding::kRint), 0x7E);
  EXPECT_EQ(encode(-1e9F, kE4m3, Rounding::kRint), 0xFE);
  EXPECT_EQ(encode(1e9F, kE4m3, Rounding::kRint, Overflow::kInfinity), 0x7F);
  EXPECT_EQ(encode(1e9F, kE5m2, Rounding::kRint, Overflow::kInfinity), 0x7C);
  EXPECT_EQ(encode(INFINITY, kE2m1, Rounding::kRint, Overflow::kInfinity), 0x07);
}

TEST(MiniFloat, NanStaysWhereTheFormatHasIt) {
  EXPECT_TRUE(std::isnan(decode(encode(NAN, kE4m3, Rounding::kRint), kE4m3)));
  EXPECT_TRUE(std::isnan(decode(encode(NAN, kE5m2, Rounding::kRint), kE5m2)));
  EXPECT_EQ(encode(NAN, kE2m1, Rounding::kRint), 0);
}

TEST(Rounding, AnUnknownNameIsRefused) {
  EXPECT_EQ(rounding_of("rint"), Rounding::kRint);
  EXPECT_THROW(static_cast<void>(rounding_of("up")), base::ValueError);
}

TEST(E8m0, ExponentsClampToWhatTheFormatHas) {
  EXPECT_EQ(decode_e8m0(e8m0_of_exponent(0)), 1.0F);
  EXPECT_EQ(decode_e8m0(e8m0_of_exponent(5)), 32.0F);
  EXPECT_EQ(e8m0_of_exponent(-200), 0);
  EXPECT_EQ(e8m0_of_exponent(200), 254);
  EXPECT_TRUE(std::isnan(decode_e8m0(0xFF)));
}

}  // namespace
}  // namespace npu_sim::compute
