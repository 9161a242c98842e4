#include "runtime/stream.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "base/error.h"
#include "chip_for_tests.h"
#include "model/cost/cost.h"

namespace npu_sim::runtime {
namespace {

using StreamTest = RuntimeTest;

TEST_F(StreamTest, a_pool_hands_out_its_streams_in_turn) {
  std::set<StreamId> seen;
  for (int i = 0; i < 2 * kStreamsPerPool; ++i) seen.insert(stream_from_pool(6, 0));
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kStreamsPerPool));
  EXPECT_FALSE(seen.contains(StreamId{6, 0}));
}

TEST_F(StreamTest, pools_keep_their_priority) {
  EXPECT_EQ(priority_of(stream_from_pool(0, kLowestPriority)), kLowestPriority);
  EXPECT_EQ(priority_of(stream_from_pool(0, kHighestPriority)), kHighestPriority);
  EXPECT_EQ(priority_of(stream_from_pool(0, -5)), kHighestPriority);
  EXPECT_EQ(priority_of({0, 0}), kLowestPriority);
}

TEST_F(StreamTest, the_current_stream_is_the_threads_own) {
  set_current_stream({1, 4});
  EXPECT_EQ(current_stream(1), (StreamId{1, 4}));
  EXPECT_EQ(current_stream(0), (StreamId{0, 0}));
  StreamId seen;
  std::thread([&] { seen = current_stream(1); }).join();
  EXPECT_EQ(seen, (StreamId{1, 0}));
  set_current_stream({1, 0});
}

TEST_F(StreamTest, a_stream_outside_the_pools_is_an_error) {
  EXPECT_THROW(set_current_stream({0, -1}), base::ValueError);
  EXPECT_THROW(synchronize({0, 1 + 3 * kStreamsPerPool}), base::ValueError);
}

TEST_F(StreamTest, an_unused_stream_has_nothing_to_do) { EXPECT_TRUE(query({0, 9})); }

TEST_F(StreamTest, polling_ends) {
  record({"test::op", {0, 0}}, streaming(64));
  EXPECT_FALSE(query({0, 0}));
  int polls = 0;
  while (!query({0, 0})) ASSERT_LT(++polls, 1'000'000);
  EXPECT_GE(host_now(), model::cost(streaming(64), chip()).duration);
}

TEST_F(StreamTest, synchronizing_one_stream_leaves_others_running) {
  record({"test::op", {0, 0}}, streaming(1));
  record({"test::op", {1, 0}}, streaming(512));
  synchronize({0, 0});
  EXPECT_TRUE(query({0, 0}));
  EXPECT_FALSE(query({1, 0}));
}

}  // namespace
}  // namespace npu_sim::runtime
