#include "runtime/timeline/timeline.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace npu_sim::runtime {
namespace {

using base::SimTime;
using model::KernelTime;
using model::Pipe;

KernelTime kernel(std::int64_t duration, std::int64_t cube, std::int64_t hibl = 0) {
  KernelTime time{.duration = SimTime(duration)};
  time.busy[static_cast<std::size_t>(Pipe::kCube)] = SimTime(cube);
  time.busy[static_cast<std::size_t>(Pipe::kHibl)] = SimTime(hibl);
  return time;
}

constexpr StreamId kFirst{0, 0};
constexpr StreamId kSecond{0, 1};
constexpr StreamId kUrgent{0, 1 + kStreamsPerPool};
constexpr StreamId kOtherDevice{1, 0};

// Launches at time 0 and asks for the end.
class TimelineTest : public ::testing::Test {
 protected:
  void launch(StreamId stream, const KernelTime& time, std::int64_t issued = 0) {
    timeline.launch(stream, time, SimTime(issued), kUntraced);
  }
  std::int64_t end_of(StreamId stream) {
    return timeline.finish(timeline.record(stream, {})).count();
  }
  Timeline timeline{2};
};

TEST_F(TimelineTest, a_kernel_alone_takes_exactly_its_duration) {
  launch(kFirst, kernel(1'234'567, 1'000'001));
  EXPECT_EQ(end_of(kFirst), 1'234'567);
}

TEST_F(TimelineTest, kernels_of_one_stream_run_in_order) {
  launch(kFirst, kernel(100, 100));
  launch(kFirst, kernel(50, 50));
  EXPECT_EQ(end_of(kFirst), 150);
}

TEST_F(TimelineTest, a_kernel_starts_no_earlier_than_it_is_issued) {
  launch(kFirst, kernel(100, 100), 1000);
  EXPECT_EQ(end_of(kFirst), 1100);
}

TEST_F(TimelineTest, two_kernels_that_fill_one_pipe_take_the_sum) {
  launch(kFirst, kernel(300, 300));
  launch(kSecond, kernel(500, 500));
  EXPECT_EQ(end_of(kFirst), 600);
  EXPECT_EQ(end_of(kSecond), 800);
}

TEST_F(TimelineTest, two_kernels_on_different_pipes_take_the_longer_one) {
  launch(kFirst, kernel(300, 300, 0));
  launch(kSecond, kernel(500, 0, 500));
  EXPECT_EQ(end_of(kFirst), 300);
  EXPECT_EQ(end_of(kSecond), 500);
}

TEST_F(TimelineTest, partly_shared_kernels_slow_down_by_the_excess) {
  // Each alone uses 3/4 of the cube: together 3/2, so both run at 2/3.
  launch(kFirst, kernel(400, 300));
  launch(kSecond, kernel(400, 300));
  EXPECT_EQ(end_of(kFirst), 600);
  EXPECT_EQ(end_of(kSecond), 600);
}

TEST_F(TimelineTest, a_kernel_that_joins_late_slows_only_the_rest) {
  launch(kFirst, kernel(1000, 1000), 0);
  launch(kSecond, kernel(200, 200), 600);
  EXPECT_EQ(end_of(kSecond), 1000);  // half speed from 600
  EXPECT_EQ(end_of(kFirst), 1200);
}

TEST_F(TimelineTest, resolving_in_pieces_gives_the_same_times) {
  launch(kFirst, kernel(1000, 1000), 0);
  timeline.advance_to(SimTime(123));
  timeline.advance_to(SimTime(599));
  launch(kSecond, kernel(200, 200), 600);
  timeline.advance_to(SimTime(777));
  EXPECT_EQ(end_of(kSecond), 1000);
  EXPECT_EQ(end_of(kFirst), 1200);
}

TEST_F(TimelineTest, an_urgent_stream_runs_first) {
  launch(kFirst, kernel(1000, 1000));
  launch(kUrgent, kernel(300, 300));
  EXPECT_EQ(end_of(kUrgent), 300);
  EXPECT_EQ(end_of(kFirst), 1300);
}

TEST_F(TimelineTest, devices_do_not_slow_each_other) {
  launch(kFirst, kernel(500, 500));
  launch(kOtherDevice, kernel(500, 500));
  EXPECT_EQ(end_of(kFirst), 500);
  EXPECT_EQ(end_of(kOtherDevice), 500);
}

TEST_F(TimelineTest, a_wait_holds_a_stream_back_until_the_point) {
  launch(kFirst, kernel(500, 500));
  const PointPtr point = timeline.record(kFirst, {});
  timeline.wait(kSecond, point);
  launch(kSecond, kernel(100, 100));
  EXPECT_EQ(end_of(kSecond), 600);
}

TEST_F(TimelineTest, a_wait_on_another_device_holds_a_stream_back) {
  launch(kFirst, kernel(500, 500));
  const PointPtr point = timeline.record(kFirst, {});
  launch(kFirst, kernel(1000, 1000));
  timeline.wait(kOtherDevice, point);
  launch(kOtherDevice, kernel(100, 100));
  EXPECT_EQ(end_of(kOtherDevice), 600);
  EXPECT_EQ(end_of(kFirst), 1500);
}

TEST_F(TimelineTest, devices_that_wait_for_each_other_in_turn_do_not_deadlock) {
  for (int round = 0; round < 100; ++round) {
    launch(kFirst, kernel(10, 10));
    timeline.wait(kOtherDevice, timeline.record(kFirst, {}));
    launch(kOtherDevice, kernel(10, 10));
    timeline.wait(kFirst, timeline.record(kOtherDevice, {}));
  }
  EXPECT_EQ(end_of(kOtherDevice), 2000);
  EXPECT_EQ(end_of(kFirst), 2000);
}

TEST_F(TimelineTest, finishing_a_point_does_not_run_past_it) {
  launch(kFirst, kernel(100, 100));
  const PointPtr point = timeline.record(kFirst, {});
  launch(kFirst, kernel(1000, 1000));
  EXPECT_EQ(timeline.finish(point).count(), 100);
  launch(kSecond, kernel(1000, 1000), 100);
  EXPECT_EQ(end_of(kSecond), 2100);  // shares with the second kernel from its start
}

TEST_F(TimelineTest, a_kernel_without_duration_takes_no_time) {
  launch(kFirst, kernel(0, 0));
  launch(kSecond, kernel(70, 70));
  EXPECT_EQ(end_of(kFirst), 0);
  EXPECT_EQ(end_of(kSecond), 70);
}

TEST_F(TimelineTest, busy_time_counts_overlap_once) {
  launch(kFirst, kernel(300, 0, 300));
  launch(kSecond, kernel(500, 500, 0));
  launch(kFirst, kernel(100, 100), 2000);
  timeline.advance_to(SimTime(10'000));
  EXPECT_EQ(timeline.totals(0).kernels, 3);
  EXPECT_EQ(timeline.totals(0).busy.count(), 600);
}

TEST_F(TimelineTest, a_preview_changes_nothing) {
  timeline.launch(kFirst, kernel(1000, 1000), SimTime(0), 7);
  const PointPtr point = timeline.record(kFirst, {});
  const auto spans = timeline.preview();
  ASSERT_EQ(spans.size(), 1U);
  EXPECT_EQ(spans[0].ticket, 7);
  EXPECT_EQ(spans[0].end.count(), 1000);
  EXPECT_FALSE(point->resolved);
  EXPECT_EQ(timeline.pending(kFirst), 2U);
  launch(kSecond, kernel(1000, 1000));
  EXPECT_EQ(end_of(kFirst), 2000);
}

TEST_F(TimelineTest, draining_leaves_at_most_the_depth) {
  for (int i = 0; i < 10; ++i) launch(kFirst, kernel(100, 100));
  EXPECT_EQ(timeline.drain_to(kFirst, 4).count(), 600);
  EXPECT_EQ(timeline.pending(kFirst), 4U);
}

TEST_F(TimelineTest, a_reset_resolves_open_points) {
  launch(kFirst, kernel(1000, 1000));
  const PointPtr point = timeline.record(kFirst, {});
  timeline.reset();
  EXPECT_TRUE(point->resolved);
  EXPECT_EQ(timeline.pending(kFirst), 0U);
}

// Any two kernels, whatever they use: between the longer one and the sum.
TEST(TimelineLaw, two_kernels_take_between_the_longer_and_the_sum) {
  std::mt19937_64 random(1);
  const auto below = [&](std::int64_t limit) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(limit + 1));
  };
  for (int trial = 0; trial < 2000; ++trial) {
    Timeline timeline(1);
    const std::int64_t a = 1 + below(1'000'000'000);
    const std::int64_t b = 1 + below(trial % 2 ? 1000 : 1'000'000'000);
    timeline.launch(kFirst, kernel(a, below(a), below(a)), {}, kUntraced);
    timeline.launch(kSecond, kernel(b, below(b), below(b)), {}, kUntraced);
    const auto first = timeline.finish(timeline.record(kFirst, {})).count();
    const auto second = timeline.finish(timeline.record(kSecond, {})).count();
    EXPECT_GE(first, a);
    EXPECT_GE(second, b);
    EXPECT_LE(std::max(first, second), a + b);
  }
}

// A random program of launches, records and waits on two devices; `piecewise` resolves now and
// then.
std::vector<std::int64_t> run_program(std::uint64_t seed, bool piecewise) {
  Timeline timeline(2);
  std::mt19937_64 random(seed);
  std::vector<PointPtr> points;
  std::int64_t host = 0;
  for (int i = 0; i < 500; ++i) {
    host += static_cast<std::int64_t>(random() % 400);
    const StreamId stream{static_cast<int>(random() % 2), static_cast<int>(random() % 3)};
    const auto duration = static_cast<std::int64_t>(random() % 1000);
    const auto kind = random() % 4;
    if (kind == 0) points.push_back(timeline.record(stream, SimTime(host)));
    if (kind == 1 && !points.empty()) timeline.wait(stream, points[random() % points.size()]);
    if (kind >= 2) {
      timeline.launch(stream, kernel(duration, duration / 2, duration), SimTime(host), kUntraced);
    }
    if (piecewise && i % 7 == 0) timeline.advance_to(SimTime(host));
  }
  std::vector<std::int64_t> times;
  for (const PointPtr& point : points) times.push_back(timeline.finish(point).count());
  return times;
}

TEST(TimelineLaw, the_same_program_gives_the_same_picoseconds) {
  EXPECT_EQ(run_program(7, false), run_program(7, false));
}

TEST(TimelineLaw, when_it_is_resolved_does_not_matter) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(run_program(seed, false), run_program(seed, true)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace npu_sim::runtime
