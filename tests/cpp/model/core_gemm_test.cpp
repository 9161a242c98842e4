// The cube core's plan: laws of tiles, waves and pipes, and the published per-pipe times.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/core/cube.h"
#include "model/core/gemm.h"
#include "model/core/schedule.h"

namespace npu_sim::model {
namespace {

const ChipSpec& card() {
  static const ChipSpec chip = preset("ascend950pr");
  return chip;
}

GemmShape product(double m, double n, double k, Format format = Format::kFp16) {
  return {.m = m, .n = n, .k = k, .a = format, .b = format, .cube = format, .out = Format::kFp16};
}

double us(double seconds) { return seconds * 1e6; }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// One published row of a pipe and what the model's plan says.
struct PipeRow {
  const char* what;
  double published_us;
  double model_us;
};

void expect_median_within(const std::vector<PipeRow>& rows, double tolerance) {
  std::vector<double> errors;
  for (const PipeRow& row : rows) {
    errors.push_back(std::abs(row.model_us / row.published_us - 1));
    EXPECT_LE(errors.back(), 4 * tolerance) << row.what << ": model " << row.model_us;
  }
  EXPECT_LE(median(errors), tolerance);
}

TEST(CoreGemm, TheTileFitsTheBuffersOfItsChip) {
  for (const std::string& name : preset_names()) {
    const ChipSpec chip = preset(name);
    for (const auto format : {Format::kFp32, Format::kFp16, Format::kInt8}) {
      const GemmShape shape = product(4096, 4096, 4096, format);
      const Tile tile = plan_gemm(shape, chip).tile;
      const double bytes = cube_bits(format, chip) / 8;
      EXPECT_LE(2 * tile.m * tile.k * bytes, static_cast<double>(chip.cube_core.l0a_bytes)) << name;
      EXPECT_LE(2 * tile.n * tile.k * bytes, static_cast<double>(chip.cube_core.l0b_bytes)) << name;
      EXPECT_LE(tile.m * tile.n * 4, static_cast<double>(chip.cube_core.l0c_bytes)) << name;
    }
  }
}

TEST(CoreGemm, ALargeProductTakesTheLargestTileOfTheAccumulator) {
  const Tile tile = plan_gemm(product(8192, 8192, 8192), preset("ascend950pr_128g")).tile;
  EXPECT_EQ(tile.m, 256);
  EXPECT_EQ(tile.n, 256);
  EXPECT_EQ(tile.k, 64);
  const Tile older = plan_gemm(product(8192, 8192, 8192), preset("ascend910b2")).tile;
  EXPECT_EQ(older.m * older.n, 128 * 256);
}

TEST(CoreGemm, FewTilesAndALongInnerDimensionSplitIt) {
  EXPECT_GT(plan_gemm(product(128, 128, 65536), card()).tile.k_split, 1);
  EXPECT_EQ(plan_gemm(product(8192, 8192, 65536), card()).tile.k_split, 1);
}

TEST(CoreGemm, ASplitTailNeverCostsMoreThanAWholeTile) {
  for (double tiles = 1; tiles < 200; ++tiles) {
    const double waves = waves_of(tiles, 1, card()).total();
    EXPECT_GE(waves, tiles / card().cube_cores);
    EXPECT_LE(waves, std::ceil(tiles / card().cube_cores));
  }
}

TEST(CoreGemm, MoreTilesNeverTakeFewerWaves) {
  for (const char* name : {"ascend950pr", "ascend910b2", "h100"}) {
    const ChipSpec chip = preset(name);
    for (double rows = 1; rows < 100; ++rows) {
      EXPECT_LE(waves_of(rows, 7, chip).total(), waves_of(rows + 1, 7, chip).total()) << name;
    }
  }
}

TEST(CoreGemm, OperandsThatFitL2AreReadOnce) {
  EXPECT_EQ(bytes_read(10e6, 20e6, card()), 30e6);
  EXPECT_GT(bytes_read(200e6, 200e6, card()), 400e6);
}

// cannmirror/asc-devkit@0da921b matmul_high_performance C8, matmul_basic_api S1 and S2, fp16
// 8192 cubed on 32 cube cores; hw-native-sys/pto-isa@3186c38 mxfp8 8192 cubed states its tile.
TEST(CoreGemm, PipesOfTheAscend950AreThePublishedOnes) {
  const ChipSpec chip = preset("ascend950pr_128g");
  const GemmPlan fp16 = plan_gemm(product(8192, 8192, 8192), chip);
  expect_median_within({{"mac_c8", 2549.7, us(fp16.pipes.cube)},
                        {"mac_s1", 2564.81, us(fp16.pipes.cube)},
                        {"mac_s2", 2564.15, us(fp16.pipes.cube)}},
                       0.02);
  expect_median_within({{"mte1_c8", 835.6, us(fp16.pipes.mte1)},
                        {"mte1_s1", 828.0, us(fp16.pipes.mte1)},
                        {"mte1_s2", 819.2, us(fp16.pipes.mte1)}},
                       0.05);
  expect_median_within({{"mte2_c8", 1900.3, us(fp16.pipes.mte2)},
                        {"mte2_s1", 1874.27, us(fp16.pipes.mte2)},
                        {"mte2_s2", 1892.7, us(fp16.pipes.mte2)}},
                       0.05);
  expect_median_within({{"fixpipe_c8", 213.8, us(fp16.pipes.fixpipe)},
                        {"fixpipe_s1", 222.0, us(fp16.pipes.fixpipe)},
                        {"fixpipe_s2", 223.1, us(fp16.pipes.fixpipe)}},
                       0.05);
  const GemmPlan mxfp8 =
      plan_tile(product(8192, 8192, 8192, Format::kMxFp8), {.m = 128, .n = 128, .k = 256}, chip);
  EXPECT_NEAR(us(mxfp8.pipes.cube) / (0.901 * 1474.9), 1, 0.10);
  EXPECT_NEAR(us(mxfp8.pipes.mte1) / (0.562 * 1474.9), 1, 0.10);
}

// The same samples on A2: counters are the mean over 24 cores of which the busiest takes more.
TEST(CoreGemm, PipesOfTheAscend910AreThePublishedOnes) {
  const ChipSpec chip = with_overrides(preset("ascend910b2"), {{"clock_hz", 1.85e9}});  // 910B1
  const GemmPlan plan = plan_tile(product(8192, 8192, 8192), {.m = 128, .n = 256, .k = 64}, chip);
  const double mean = plan.balance * 1e6;
  expect_median_within({{"mac_c8", 3076.4, plan.pipes.cube * mean},
                        {"mac_s1", 3081.66, plan.pipes.cube * mean},
                        {"mac_s2", 3082.16, plan.pipes.cube * mean}},
                       0.02);
  expect_median_within({{"mte1_c8", 2533.5, plan.pipes.mte1 * mean},
                        {"mte1_s1", 2538.35, plan.pipes.mte1 * mean},
                        {"mte1_s2", 2553.06, plan.pipes.mte1 * mean}},
                       0.10);
  expect_median_within({{"mte2_c8", 3435.6, plan.pipes.mte2 * mean},
                        {"mte2_s1", 3552.25, plan.pipes.mte2 * mean},
                        {"mte2_s2", 3487.07, plan.pipes.mte2 * mean}},
                       0.10);
  expect_median_within({{"fixpipe_c8", 272.6, plan.pipes.fixpipe * mean},
                        {"fixpipe_s1", 160.4, plan.pipes.fixpipe * mean},
                        {"fixpipe_s2", 161.8, plan.pipes.fixpipe * mean}},
                       0.12);
  // hw-native-sys/pto-isa@3186c38 on A3, base 128x256: shares of the task.
  const GemmPlan a3 =
      plan_tile(product(6144, 6144, 6144), {.m = 128, .n = 256, .k = 64}, preset("ascend910c"));
  EXPECT_NEAR(us(a3.pipes.mte1) / (0.681 * 1506), 1, 0.10);
  EXPECT_NEAR(us(a3.pipes.mte2) / (0.952 * 1506), 1, 0.10);
}

TEST(CoreGemm, ResultRowsFillTransactionsWhereThereAreTilesForAllCores) {
  for (const char* name : {"ascend950pr", "ascend910b2"}) {
    const ChipSpec chip = preset(name);
    const GemmPlan plan = plan_gemm(product(8192, 8192, 8192), chip);
    EXPECT_GE(plan.tile.n * 2, chip.transaction_bytes) << name;
  }
  // A small product may share lines to use more cores.
  EXPECT_LT(plan_gemm(product(128, 1024, 512), preset("ascend910b2")).tile.n, 256);
}

}  // namespace
}  // namespace npu_sim::model
