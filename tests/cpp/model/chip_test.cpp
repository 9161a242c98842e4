#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "base/error.h"
#include "model/chip/chip_spec.h"
#include "model/chip/field.h"
#include "model/chip/preset_data.h"

namespace npu_sim::model {
namespace {

using testing::Contains;
using testing::HasSubstr;

std::string error_of(const std::map<std::string, double>& overrides) {
  try {
    (void)with_overrides(preset("950pr"), overrides);
  } catch (const base::ValueError& error) {
    return error.what();
  }
  return "";
}

TEST(Preset, TheMissionsChipsAreThere) {
  for (const char* chip : {"ascend950pr", "ascend950pr_128g", "ascend950dt", "ascend910b2",
                           "ascend910c", "ascend910c_package", "h20", "h100", "h800", "a100"}) {
    EXPECT_THAT(preset_names(), Contains(chip));
  }
  EXPECT_EQ(preset_names().front(), "ascend950pr");
}

TEST(Preset, AnswersToAliasesAndSocNamesInAnyCase) {
  EXPECT_EQ(preset("950PR").name, "ascend950pr");
  EXPECT_EQ(preset("Ascend950PR_9579").name, "ascend950pr");
  EXPECT_EQ(preset("ASCEND910B2").name, "ascend910b2");
  EXPECT_EQ(preset("950dt").name, "ascend950dt");
  for (const std::string& name : preset_names()) EXPECT_EQ(preset(name).name, name);
}

TEST(Preset, NamesAndAliasesPointAtOneChipEach) {
  std::set<std::string_view> seen;
  for (const auto family : {ascend950_presets(), ascend910_presets(), nvidia_presets()}) {
    for (const PresetData& data : family) {
      EXPECT_TRUE(seen.insert(data.name).second) << data.name;
      for (const auto alias : data.aliases) EXPECT_TRUE(seen.insert(alias).second) << alias;
    }
  }
}

TEST(Preset, AnUnknownNameListsTheKnownOnes) {
  try {
    (void)preset("tpu");
    FAIL() << "no error";
  } catch (const base::ValueError& error) {
    EXPECT_THAT(error.what(), HasSubstr("\"tpu\""));
    EXPECT_THAT(error.what(), HasSubstr("ascend950pr, "));
  }
}

TEST(Preset, EveryNumberIsInItsFieldsRange) {
  for (const std::string& name : preset_names()) {
    const ChipSpec chip = preset(name);
    for (const Field& field : fields()) {
      EXPECT_GE(value_of(chip, field), field.minimum) << name << " " << field.name;
      EXPECT_LE(value_of(chip, field), field.maximum) << name << " " << field.name;
    }
    EXPECT_NO_THROW((void)with_overrides(chip, {})) << name;
  }
}

// A peak of 0: the chip lacks the format; a choice or a cost of 0: it does not have it.
bool may_be_zero(const std::string& name) {
  const std::vector<std::string> names = {
      "cube_fp8_flop_per_s",   "cube_fp4_flop_per_s",    "splits_tail",    "splits_grid",
      "packs_query_rows",      "exchanges_directly",     "stage_exposure", "block_latency_ns",
      "cube_start_ns",         "mix_start_ns",           "mask_start_ns",  "mad_cycles",
      "l0_load_cycles",        "fixpipe_cycles",         "unit_flag_mads", "pass_restart",
      "vector_odd_row_cycles", "vector_data_cache_bytes"};
  return std::ranges::find(names, name) != names.end();
}

TEST(Preset, EveryNumberIsPositiveUnlessTheChipLacksIt) {
  for (const std::string& name : preset_names()) {
    for (const Parameter& parameter : parameters(preset(name))) {
      const bool may_lack = may_be_zero(parameter.name);
      EXPECT_TRUE(parameter.value > 0 || (may_lack && parameter.value == 0))
          << name << " " << parameter.name;
    }
  }
}

TEST(Preset, EveryNumberHasAUnitAndASource) {
  for (const std::string& name : preset_names()) {
    for (const Parameter& parameter : parameters(preset(name))) {
      EXPECT_FALSE(parameter.unit.empty()) << name << " " << parameter.name;
      EXPECT_GT(parameter.source.size(), 10U) << name << " " << parameter.name;
      EXPECT_NE(parameter.source, "set by the user") << name << " " << parameter.name;
    }
  }
}

TEST(Preset, TablesNameOnlyKnownFieldsAndEachOnce) {
  for (const auto family : {ascend950_presets(), ascend910_presets(), nvidia_presets()}) {
    for (const PresetData& data : family) {
      std::set<std::string_view> seen;
      for (const SourcedNumber& number : data.numbers) {
        EXPECT_NE(find_field(number.field), nullptr) << data.name << " " << number.field;
        EXPECT_TRUE(seen.insert(number.field).second) << data.name << " " << number.field;
      }
    }
  }
}

TEST(Preset, AscendPeaksFollowFromCoresAndClock) {
  // 16 x 16 x 16 multiply-adds a cycle and core; 1 % for rounding in the citations.
  for (const char* name : {"ascend950pr", "ascend950pr_128g", "ascend950dt", "ascend910b2"}) {
    const ChipSpec chip = preset(name);
    const double peak = chip.cube_cores * 16.0 * 16 * 16 * 2 * chip.clock_hz;
    EXPECT_NEAR(chip.cube_fp16_flop_per_s, peak, 0.01 * peak) << name;
    const double lanes = chip.vector_cores * 64.0 * chip.clock_hz;
    EXPECT_NEAR(chip.vector_fp32_op_per_s, lanes, 0.01 * lanes) << name;
  }
}

TEST(Preset, TheDefaultIsTheMissionsCard) {
  const ChipSpec chip = preset("ascend950pr");
  EXPECT_EQ(chip.cube_cores, 28);
  EXPECT_EQ(chip.vector_cores, 56);
  EXPECT_EQ(chip.soc_name, "Ascend950PR_9579");
  EXPECT_EQ(chip.memory_bytes, std::int64_t{112} << 30);
  EXPECT_EQ(chip.hibl_bytes_per_s, 1.4e12);
  EXPECT_EQ(chip.launch_floor, base::SimTime(2'400'000));
}

TEST(Overrides, ReplaceTheNumberAndItsSource) {
  const ChipSpec chip = with_overrides(preset("950pr"), {{"hibl_bytes_per_s", 2e12}});
  EXPECT_EQ(chip.hibl_bytes_per_s, 2e12);
  for (const Parameter& parameter : parameters(chip)) {
    EXPECT_EQ(parameter.source == "set by the user", parameter.name == "hibl_bytes_per_s")
        << parameter.name;
  }
}

TEST(Overrides, KeepSourcesUnderAUsersName) {
  ChipSpec chip = with_overrides(preset("950pr"), {{"l2_bytes", 1e9}});
  chip.name = "my_chip";
  for (const Parameter& parameter : parameters(chip)) {
    EXPECT_EQ(parameter.source == "set by the user", parameter.name == "l2_bytes")
        << parameter.name;
  }
}

TEST(Overrides, ReachEveryParameterThatIsReported) {
  const ChipSpec chip = preset("950pr");
  for (const Parameter& parameter : parameters(chip)) {
    const ChipSpec same = with_overrides(chip, {{parameter.name, parameter.value}});
    EXPECT_EQ(value_of(same, *find_field(parameter.name)), parameter.value) << parameter.name;
  }
}

TEST(Overrides, OfCoresScaleThePeaks) {
  const ChipSpec before = preset("950pr");
  const ChipSpec after = with_overrides(before, {{"cube_cores", 56}});
  EXPECT_DOUBLE_EQ(after.cube_fp16_flop_per_s, 2 * before.cube_fp16_flop_per_s);
  EXPECT_DOUBLE_EQ(after.cube_fp4_flop_per_s, 2 * before.cube_fp4_flop_per_s);
  EXPECT_EQ(after.vector_fp32_op_per_s, before.vector_fp32_op_per_s);
}

TEST(Overrides, OfTheClockScaleCubeAndVectorButNotAStatedPeak) {
  const ChipSpec before = preset("950pr");
  const ChipSpec after =
      with_overrides(before, {{"clock_hz", 3.3e9}, {"cube_fp16_flop_per_s", 4e14}});
  EXPECT_EQ(after.cube_fp16_flop_per_s, 4e14);
  EXPECT_DOUBLE_EQ(after.cube_fp8_flop_per_s, 2 * before.cube_fp8_flop_per_s);
  EXPECT_DOUBLE_EQ(after.vector_fp16_op_per_s, 2 * before.vector_fp16_op_per_s);
}

TEST(Overrides, OfCoresSayWhichPeaksFollowed) {
  const ChipSpec chip =
      with_overrides(preset("950pr"), {{"cube_cores", 14}, {"cube_fp8_flop_per_s", 1e14}});
  for (const Parameter& parameter : parameters(chip)) {
    const bool stated = parameter.name == "cube_cores" || parameter.name == "cube_fp8_flop_per_s";
    const bool followed =
        parameter.name.starts_with("cube_") && !stated && parameter.unit.ends_with("OP/s");
    EXPECT_EQ(parameter.source == "set by the user", stated) << parameter.name;
    EXPECT_EQ(parameter.source.starts_with("scaled with"), followed) << parameter.name;
  }
}

TEST(Overrides, RefuseUnknownNames) {
  EXPECT_THAT(error_of({{"hbm_bytes_per_s", 1e12}}), HasSubstr("\"hbm_bytes_per_s\""));
}

TEST(Overrides, RefuseValuesOutOfRangeAndSayTheRange) {
  EXPECT_THAT(error_of({{"hibl_bytes_per_s", 0}}), HasSubstr("between 1000000 and 1e+21 B/s"));
  EXPECT_THAT(error_of({{"special_rate", -1}}), HasSubstr("got -1"));
  EXPECT_THAT(error_of({{"cube_efficiency", 1.01}}), HasSubstr("cube_efficiency"));
  EXPECT_THAT(error_of({{"clock_hz", std::numeric_limits<double>::quiet_NaN()}}), HasSubstr("nan"));
}

TEST(Overrides, RefuseNumbersThatContradictEachOther) {
  EXPECT_THAT(error_of({{"idle_watts", 601}}), HasSubstr("tdp_watts"));
  EXPECT_THAT(error_of({{"hibl_read_efficiency", 0.5}}), HasSubstr("hibl_mixed_efficiency"));
}

}  // namespace
}  // namespace npu_sim::model
