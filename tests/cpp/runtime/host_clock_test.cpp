#include "runtime/host_clock.h"

#include <gtest/gtest.h>

#include "chip_for_tests.h"

namespace npu_sim::runtime {
namespace {

using base::SimTime;

TEST(HostClock, an_advance_gives_the_time_after_it) {
  HostClock clock;
  EXPECT_EQ(clock.advance(SimTime(5)), SimTime(5));
  EXPECT_EQ(clock.advance(SimTime(7)), SimTime(12));
  EXPECT_EQ(clock.now(), SimTime(12));
}

TEST(HostClock, waiting_never_goes_back) {
  HostClock clock;
  clock.wait_until(SimTime(100));
  clock.wait_until(SimTime(50));
  EXPECT_EQ(clock.now(), SimTime(100));
}

using HostClockTest = RuntimeTest;

TEST_F(HostClockTest, the_process_has_one_clock) {
  advance_host(SimTime(42));
  EXPECT_EQ(host_now(), SimTime(42));
}

}  // namespace
}  // namespace npu_sim::runtime
