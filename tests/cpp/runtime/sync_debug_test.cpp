#include "runtime/sync_debug.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "chip_for_tests.h"

namespace npu_sim::runtime {
namespace {

int warnings = 0;

class SyncDebugTest : public RuntimeTest {
 protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    warnings = 0;
    set_sync_warning([](const char*) { ++warnings; });
  }
  void TearDown() override { set_sync_debug_mode(SyncDebugMode::kDefault); }
};

constexpr model::CopyWork kDown{.route = model::CopyRoute::kDeviceToHost};

TEST_F(SyncDebugTest, waits_are_silent_by_default) {
  EXPECT_EQ(sync_debug_mode(), SyncDebugMode::kDefault);
  synchronize({0, 0});
  EXPECT_EQ(warnings, 0);
}

TEST_F(SyncDebugTest, each_wait_warns_once) {
  set_sync_debug_mode(SyncDebugMode::kWarn);
  synchronize({0, 0});
  EXPECT_EQ(warnings, 1);
  record_copy({"test::copy", {0, 0}}, kDown, true);
  EXPECT_EQ(warnings, 2);
}

TEST_F(SyncDebugTest, what_does_not_wait_does_not_warn) {
  set_sync_debug_mode(SyncDebugMode::kWarn);
  record({"test::kernel", {0, 0}}, streaming(1));
  record_copy({"test::copy", {0, 0}}, kDown, false);
  EXPECT_EQ(warnings, 0);
}

TEST_F(SyncDebugTest, waits_can_be_errors) {
  set_sync_debug_mode(SyncDebugMode::kError);
  EXPECT_THROW(synchronize({0, 0}), base::Error);
  EXPECT_THROW(record_copy({"test::copy", {0, 0}}, kDown, true), base::Error);
}

}  // namespace
}  // namespace npu_sim::runtime
