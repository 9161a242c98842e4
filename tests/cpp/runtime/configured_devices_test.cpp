#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/error.h"
#include "runtime/device.h"

namespace npu_sim::runtime {
namespace {

TEST(ConfiguredDevices, a_wrong_count_is_an_error_until_it_is_corrected) {
  for (const char* text : {"0", "65", "-1", "eight", "3x"}) {
    setenv("NPU_SIM_DEVICES", text, 1);
    EXPECT_THROW((void)device_count(), base::ValueError) << text;
  }
  setenv("NPU_SIM_DEVICES", "3", 1);
  EXPECT_EQ(device_count(), 3);
  EXPECT_THROW(set_current_device(3), base::ValueError);
}

TEST(ConfiguredDevices, a_file_as_chip_starts_with_the_default_preset) {
  setenv("NPU_SIM_CHIP", "no_such_chip", 1);
  EXPECT_THROW((void)chip(), base::ValueError);
  setenv("NPU_SIM_CHIP", "my/chip.yaml", 1);
  EXPECT_EQ(chip().name, model::preset_names().front());
}

}  // namespace
}  // namespace npu_sim::runtime
