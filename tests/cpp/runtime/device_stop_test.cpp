#include "runtime/device_stop.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "chip_for_tests.h"

namespace npu_sim::runtime {
namespace {

using DeviceStopTest = RuntimeTest;

TEST_F(DeviceStopTest, a_stopped_device_refuses_launches_until_it_restarts) {
  stop_device(0);
  EXPECT_TRUE(device_stopped(0));
  EXPECT_THROW(record({"test::kernel", {0, 0}}, streaming(1)), base::Error);
  EXPECT_THROW(record_copy({"test::copy", {0, 0}}, {}, false), base::Error);
  restart_device(0);
  EXPECT_NO_THROW(record({"test::kernel", {0, 0}}, streaming(1)));
}

TEST_F(DeviceStopTest, other_devices_go_on) {
  stop_device(0);
  EXPECT_NO_THROW(record({"test::kernel", {1, 0}}, streaming(1)));
  restart_device(0);
}

TEST_F(DeviceStopTest, a_stopped_device_can_be_waited_for) {
  record({"test::kernel", {0, 0}}, streaming(64));
  stop_device(0);
  const base::SimTime before = host_now();
  synchronize_device(0);
  EXPECT_GT(host_now(), before);
  restart_device(0);
}

TEST_F(DeviceStopTest, the_error_says_how_to_go_on) {
  stop_device(2);
  try {
    check_running(2);
    FAIL() << "expected an error";
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("restart_device(2)"), std::string::npos);
  }
  restart_device(2);
}

}  // namespace
}  // namespace npu_sim::runtime
