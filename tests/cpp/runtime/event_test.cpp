#include "runtime/event.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "chip_for_tests.h"
#include "model/cost/cost.h"
#include "runtime/l2_state.h"

namespace npu_sim::runtime {
namespace {

using base::SimTime;
constexpr LaunchSite kSite{"test::op", {0, 0}};
constexpr StreamId kOther{0, 1};

std::string elapsed_error(const Event& start, const Event& end) {
  try {
    (void)Event::elapsed(start, end);
  } catch (const base::ValueError& error) {
    return error.what();
  }
  return "no error";
}

using EventTest = RuntimeTest;

TEST_F(EventTest, elapsed_is_the_time_between_the_points) {
  Event start(true);
  Event end(true);
  record(kSite, streaming(64));
  start.record(kSite.stream);
  flush_l2(0);
  record(kSite, streaming(64));
  end.record(kSite.stream);
  end.synchronize();
  EXPECT_EQ(Event::elapsed(start, end), model::cost(streaming(64), chip()).duration);
  EXPECT_EQ(Event::elapsed(end, start), -model::cost(streaming(64), chip()).duration);
}

TEST_F(EventTest, elapsed_needs_timing) {
  Event start(false);
  Event end(true);
  EXPECT_EQ(elapsed_error(start, end),
            "Both events must be created with argument 'enable_timing=True'.");
}

TEST_F(EventTest, elapsed_needs_recorded_events) {
  Event start(true);
  Event end(true);
  start.record(kSite.stream);
  EXPECT_EQ(elapsed_error(start, end),
            "Both events must be recorded before calculating elapsed time.");
}

TEST_F(EventTest, elapsed_needs_reached_events) {
  Event start(true);
  Event end(true);
  start.record(kSite.stream);
  record(kSite, streaming(64));
  end.record(kSite.stream);
  EXPECT_EQ(elapsed_error(start, end),
            "Both events must be completed before calculating elapsed time.");
}

TEST_F(EventTest, elapsed_needs_one_device) {
  Event start(true);
  Event end(true);
  start.record({0, 0});
  end.record({1, 0});
  EXPECT_NE(elapsed_error(start, end).find("must be the same, got npu:0 and npu:1"),
            std::string::npos);
}

TEST_F(EventTest, an_event_never_recorded_is_done_and_blocks_nobody) {
  const Event event(false);
  EXPECT_TRUE(event.query());
  EXPECT_FALSE(event.recorded());
  EXPECT_EQ(event.device(), -1);
  event.block(kOther);
  record({"test::op", kOther}, streaming(0));
  synchronize(kOther);
  EXPECT_TRUE(query(kOther));
}

TEST_F(EventTest, a_blocked_stream_starts_behind_the_event) {
  Event ready(false);
  record(kSite, streaming(64));
  ready.record(kSite.stream);
  ready.block(kOther);
  flush_l2(0);
  record({"test::op", kOther}, streaming(64));
  synchronize(kOther);
  EXPECT_EQ(host_now(), SimTime(std::chrono::nanoseconds(1000)) +
                            2 * model::cost(streaming(64), chip()).duration);
}

TEST_F(EventTest, a_stream_of_another_device_can_be_blocked) {
  Event ready(false);
  record(kSite, streaming(64));
  ready.record(kSite.stream);
  ready.block({3, 0});
  record({"test::op", {3, 0}}, streaming(64));
  synchronize({3, 0});
  EXPECT_EQ(host_now(), SimTime(std::chrono::nanoseconds(1000)) +
                            2 * model::cost(streaming(64), chip()).duration);
}

TEST_F(EventTest, a_wait_keeps_the_point_it_was_given) {
  Event event(false);
  event.record(kSite.stream);
  event.block(kOther);
  record(kSite, streaming(512));
  event.record(kSite.stream);
  record({"test::op", kOther}, streaming(0));
  synchronize(kOther);
  EXPECT_LT(host_now(), model::cost(streaming(512), chip()).duration);
}

TEST_F(EventTest, copies_name_the_same_event) {
  Event event(false);
  const Event copy = event;
  event.record({2, 0});
  EXPECT_TRUE(copy.recorded());
  EXPECT_EQ(copy.device(), 2);
}

TEST_F(EventTest, polling_ends) {
  Event event(false);
  record(kSite, streaming(64));
  event.record(kSite.stream);
  EXPECT_FALSE(event.query());
  int polls = 0;
  while (!event.query()) ASSERT_LT(++polls, 1'000'000);
}

TEST_F(EventTest, an_event_outlives_a_change_of_the_chip) {
  Event event(true);
  record(kSite, streaming(64));
  event.record(kSite.stream);
  set_chip(chip_for_tests());
  EXPECT_TRUE(event.query());
  event.synchronize();
}

}  // namespace
}  // namespace npu_sim::runtime
