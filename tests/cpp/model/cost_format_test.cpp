// How formats decide the cube's rate, the vector's rate and the bytes.
#include <gtest/gtest.h>

#include "model/cost/cost.h"

namespace npu_sim::model {
namespace {

using base::SimTime;

constexpr std::int64_t kSize = 1024;
constexpr double kFlops = 2.0 * kSize * kSize * kSize;

KernelTime product(Format a, Format b, const ChipSpec& chip, std::int64_t size = kSize) {
  return cost(MatmulWork{.m = size, .n = size, .k = size, .a = a, .b = b}, chip);
}

// FLOP/s that the cube reaches while busy with a product that fills the cores.
double rate(Format a, Format b, const char* name = "ascend950pr") {
  constexpr std::int64_t kLarge = 4096;
  const double flops = 2.0 * kLarge * kLarge * kLarge;
  const KernelTime time = product(a, b, preset(name), kLarge);
  return flops / (static_cast<double>(time.busy_of(Pipe::kCube).count()) * 1e-12);
}
double rate(Format both, const char* name = "ascend950pr") { return rate(both, both, name); }

// The cost of a command and the last wave of tiles take at most 15 % of a large product.
void expect_peak(double actual, double peak) {
  EXPECT_LE(actual, peak * (1 + 1e-9));
  EXPECT_GE(actual, peak * 0.85);
}

TEST(CubeFormat, EachWidthHasItsPeak) {
  const ChipSpec chip = preset("ascend950pr");
  for (auto format : {Format::kFp16, Format::kBf16}) {
    expect_peak(rate(format), chip.cube_fp16_flop_per_s);
  }
  for (auto format : {Format::kFp8E4m3, Format::kFp8E5m2, Format::kHif8, Format::kMxFp8}) {
    expect_peak(rate(format), chip.cube_fp8_flop_per_s);
  }
  for (auto format : {Format::kInt8, Format::kUint8}) {
    expect_peak(rate(format), chip.cube_int8_flop_per_s);
  }
  for (auto format : {Format::kFp4, Format::kMxFp4, Format::kInt4}) {
    expect_peak(rate(format), chip.cube_fp4_flop_per_s);
  }
}

TEST(CubeFormat, PlainFp32IsTimedAsHf32) {
  expect_peak(rate(Format::kFp32), preset("ascend950pr").cube_fp32_flop_per_s);
  expect_peak(rate(Format::kHf32), preset("ascend950pr").cube_fp32_flop_per_s);
}

TEST(CubeFormat, TheWiderOperandDecides) {
  const ChipSpec chip = preset("ascend950pr");
  expect_peak(rate(Format::kBf16, Format::kInt4), chip.cube_fp16_flop_per_s);
  expect_peak(rate(Format::kMxFp4, Format::kMxFp8), chip.cube_fp8_flop_per_s);
  expect_peak(rate(Format::kFp32, Format::kBf16), chip.cube_fp32_flop_per_s);
}

TEST(CubeFormat, AChipWithoutAFormatUsesTheNextWider) {
  const ChipSpec old = preset("ascend910b2");
  expect_peak(rate(Format::kFp8E4m3, "ascend910b2"), old.cube_fp16_flop_per_s);
  expect_peak(rate(Format::kMxFp4, "ascend910b2"), old.cube_fp16_flop_per_s);
  expect_peak(rate(Format::kInt4, "ascend910b2"), old.cube_fp4_flop_per_s);
  const ChipSpec hopper = preset("h100");
  const double narrow = hopper.cube_core.narrow_efficiency;
  expect_peak(rate(Format::kMxFp4, "h100"), narrow * hopper.cube_fp8_flop_per_s);
  expect_peak(rate(Format::kInt4, "h100"), narrow * hopper.cube_int8_flop_per_s);
}

TEST(CubeFormat, FormatsTheCubeLacksRunOnTheVectorCores) {
  const ChipSpec chip = preset("ascend950pr");
  for (auto format : {Format::kFp64, Format::kInt64, Format::kInt32, Format::kInt16,
                      Format::kComplex32, Format::kComplex64, Format::kComplex128}) {
    const KernelTime time = product(format, format, chip);
    EXPECT_EQ(time.busy_of(Pipe::kCube), SimTime(0)) << base::name(format);
    EXPECT_GT(time.busy_of(Pipe::kVector), product(Format::kFp32, Format::kFp32, chip).duration)
        << base::name(format);
    EXPECT_EQ(time.flops.count(), static_cast<std::int64_t>(kFlops)) << base::name(format);
  }
}

TEST(CubeFormat, VectorProductsSlowDownWithTheWidth) {
  const ChipSpec chip = preset("ascend950pr");
  const auto busy = [&](Format format) {
    return static_cast<double>(product(format, format, chip).busy_of(Pipe::kVector).count());
  };
  EXPECT_NEAR(busy(Format::kFp64) / busy(Format::kInt32), 2, 1e-6);
  EXPECT_NEAR(busy(Format::kComplex64) / busy(Format::kInt32), 4, 1e-6);
  EXPECT_NEAR(busy(Format::kComplex128) / busy(Format::kFp64), 4, 1e-6);
}

TEST(VectorFormat, RateFollowsTheWidth) {
  const ChipSpec chip = preset("ascend950pr");
  const auto busy = [&](Format format) {
    const VectorWork work{.elements = 10'000'000, .compute = format, .linear_ops = 10};
    return static_cast<double>(cost(work, chip).busy_of(Pipe::kVector).count());
  };
  const double fp32 = busy(Format::kFp32);
  EXPECT_NEAR(busy(Format::kFp16) / fp32, 0.5, 1e-3);
  EXPECT_NEAR(busy(Format::kBf16) / fp32, 1.2, 1e-3);  // in fp32, and two converts beside ten
  EXPECT_NEAR(busy(Format::kInt8) / fp32, 1.2, 1e-3);
  EXPECT_NEAR(busy(Format::kInt64) / fp32, 2, 2e-3);
  EXPECT_NEAR(busy(Format::kComplex128) / fp32, 4, 2e-3);
}

TEST(VectorFormat, ASpecialFunctionTakesFourCycles) {
  const ChipSpec chip = preset("ascend950pr");
  const VectorWork work{.elements = 64 * 56 * 1000, .linear_ops = 0, .special_ops = 3};
  EXPECT_EQ(cost(work, chip).busy_of(Pipe::kVector), base::SimTime(7'272'728));  // 12,000 cycles
}

TEST(StoredBytes, FollowTheFormatAndItsBlockScales) {
  const ChipSpec chip = preset("ascend950pr");
  const auto bytes = [&](Format format) {
    return product(format, format, chip).bytes_read.count();
  };
  constexpr std::int64_t kElements = 2 * kSize * kSize;
  EXPECT_EQ(bytes(Format::kBf16), 2 * kElements);
  EXPECT_EQ(bytes(Format::kInt8), kElements);
  EXPECT_EQ(bytes(Format::kFp4), kElements / 2);
  EXPECT_EQ(bytes(Format::kMxFp8), kElements + kElements / 32);
  EXPECT_EQ(bytes(Format::kMxFp4), kElements / 2 + kElements / 32);
}

}  // namespace
}  // namespace npu_sim::model
