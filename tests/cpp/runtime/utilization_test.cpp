#include "runtime/utilization.h"

#include <gtest/gtest.h>

#include "chip_for_tests.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {
namespace {

using UtilizationTest = RuntimeTest;

TEST_F(UtilizationTest, an_idle_card_has_none) {
  advance_host(std::chrono::milliseconds(1));
  EXPECT_EQ(utilization(0), 0);
}

TEST_F(UtilizationTest, it_is_the_share_of_the_time_in_which_kernels_ran) {
  EXPECT_EQ(utilization(0), 0);
  const base::SimTime begin = host_now();
  record({"test::kernel", {0, 0}}, streaming(1024));
  synchronize({0, 0});
  advance_host(host_now() - begin);  // as long again, idle
  EXPECT_EQ(utilization(0), 50);
}

TEST_F(UtilizationTest, a_card_that_never_waits_is_full) {
  EXPECT_EQ(utilization(0), 0);
  record({"test::kernel", {0, 0}}, streaming(1024));
  synchronize({0, 0});
  EXPECT_EQ(utilization(0), 100);
}

TEST_F(UtilizationTest, it_looks_back_to_the_last_call_only) {
  record({"test::kernel", {0, 0}}, streaming(1024));
  synchronize({0, 0});
  EXPECT_GT(utilization(0), 0);
  advance_host(std::chrono::seconds(1));
  EXPECT_EQ(utilization(0), 0);
}

TEST_F(UtilizationTest, cards_are_counted_apart) {
  record({"test::kernel", {0, 0}}, streaming(1024));
  synchronize({0, 0});
  EXPECT_EQ(utilization(1), 0);
}

}  // namespace
}  // namespace npu_sim::runtime
