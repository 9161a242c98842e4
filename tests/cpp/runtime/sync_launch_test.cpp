#include "runtime/sync_launch.h"

#include <gtest/gtest.h>

#include "chip_for_tests.h"
#include "model/cost/cost.h"

namespace npu_sim::runtime {
namespace {

using SyncLaunchTest = RuntimeTest;

TEST_F(SyncLaunchTest, only_streams_of_its_pool_launch_in_step) {
  EXPECT_TRUE(launches_in_step(sync_launch_stream(0)));
  EXPECT_FALSE(launches_in_step(stream_from_pool(0, kLowestPriority)));
  EXPECT_FALSE(launches_in_step(stream_from_pool(0, kHighestPriority)));
  EXPECT_FALSE(launches_in_step({0, 0}));
  EXPECT_EQ(priority_of(sync_launch_stream(0)), kLowestPriority);
}

TEST_F(SyncLaunchTest, the_host_goes_on_when_the_kernel_starts) {
  const StreamId stream = sync_launch_stream(0);
  const base::SimTime kernel = model::cost(streaming(64), chip()).duration;
  record({"test::first", stream}, streaming(64));
  const base::SimTime first = host_now();
  EXPECT_LT(first, kernel);
  record({"test::second", stream}, streaming(64));
  EXPECT_EQ(host_now(), first + kernel);
}

TEST_F(SyncLaunchTest, another_stream_lets_the_host_run_ahead) {
  const StreamId stream = stream_from_pool(0, kLowestPriority);
  const base::SimTime begin = host_now();
  record({"test::first", stream}, streaming(64));
  record({"test::second", stream}, streaming(64));
  EXPECT_EQ(host_now() - begin, 2 * std::chrono::microseconds(1));
}

}  // namespace
}  // namespace npu_sim::runtime
