// Energy: idle power all the time, each event its own, never more than the card may draw.
#include <gtest/gtest.h>

#include "model/cost/cost.h"
#include "model/work/name.h"
#include "sample_works.h"

namespace npu_sim::model {
namespace {

// Picojoules over picoseconds are watts.
double watts(const KernelTime& time) {
  return static_cast<double>(time.energy.count()) / static_cast<double>(time.duration.count());
}

MatmulWork large_matmul() {
  return {.m = 8192,
          .n = 8192,
          .k = 8192,
          .a = Format::kFp16,
          .b = Format::kFp16,
          .out = Format::kFp16};
}

TEST(Energy, StaysBetweenIdleAndTdpForEveryWorkOnEveryChip) {
  for (const std::string& name_of_chip : preset_names()) {
    const ChipSpec chip = preset(name_of_chip);
    for (const Work& work : sample_works()) {
      if (std::holds_alternative<NoWork>(work)) continue;
      const KernelTime time = cost(work, chip);
      EXPECT_GE(watts(time), chip.idle_watts * (1 - 1e-6)) << name_of_chip << to_text(work);
      EXPECT_LE(watts(time), chip.tdp_watts) << name_of_chip << to_text(work);
    }
  }
}

TEST(Energy, AnEmptyLaunchDrawsIdlePower) {
  const ChipSpec chip = preset("ascend950pr");
  EXPECT_NEAR(watts(cost(VectorWork{}, chip)), chip.idle_watts, 1e-3);
}

TEST(Energy, IsCutAtTheTdp) {
  const ChipSpec hot = with_overrides(preset("ascend950pr"), {{"cube_fp16_pj_per_flop", 100}});
  const KernelTime time = cost(large_matmul(), hot);
  EXPECT_LE(watts(time), hot.tdp_watts);
  EXPECT_NEAR(watts(time), hot.tdp_watts, 1e-3);
}

TEST(Energy, ASaturatedMatmulDrawsMuchOfTheTdpAndNoMore) {
  for (const std::string& name : preset_names()) {
    const ChipSpec chip = preset(name);
    // The presets' energies are assumed so that this holds without the cut.
    EXPECT_GT(watts(cost(large_matmul(), chip)), 0.4 * chip.tdp_watts) << name;
    EXPECT_LT(watts(cost(large_matmul(), chip)), 0.99 * chip.tdp_watts) << name;
  }
}

TEST(Energy, APartOfTheWidthTakesAPartOfTheEnergy) {
  // Half the width runs twice as fast at the same power: half the energy beyond idle and memory.
  const ChipSpec chip =
      with_overrides(preset("ascend950pr"), {{"idle_watts", 0}, {"hibl_pj_per_byte", 0}});
  MatmulWork half = large_matmul();
  half.a = half.b = Format::kFp8E4m3;
  const auto energy = [&](const MatmulWork& work) {
    return static_cast<double>(cost(work, chip).energy.count());
  };
  EXPECT_NEAR(energy(large_matmul()) / energy(half), 2, 1e-3);
}

TEST(Energy, OfMemoryFollowsTheBytesThatMove) {
  const ChipSpec chip = with_overrides(preset("ascend950pr"), {{"idle_watts", 0}});
  const KernelTime time = cost(UndescribedWork{.read = Bytes(1'000'000)}, chip);
  EXPECT_EQ(time.energy.count(), static_cast<std::int64_t>(1e6 * chip.hibl_pj_per_byte));
}

}  // namespace
}  // namespace npu_sim::model
