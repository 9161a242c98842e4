#include "runtime/core_limit.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "chip_for_tests.h"
#include "model/cost/cost.h"
#include "runtime/event.h"

namespace npu_sim::runtime {
namespace {

using CoreLimitTest = RuntimeTest;

constexpr StreamId kFirst{0, 1};
constexpr StreamId kSecond{0, 2};
constexpr model::MatmulWork kMatmul{.m = 8192, .n = 8192, .k = 8192};

base::SimTime time_on(StreamId stream) { return model::cost(kMatmul, chip_of(stream)).duration; }

CoreCount half() { return {chip().cube_cores / 2, kUnchangedCores}; }

// Simulated time from the launch of one product on each stream to the end of the last.
base::SimTime both_at_once() {
  synchronize_device(0);
  const base::SimTime begin = host_now();
  record({"test::a", kFirst}, kMatmul);
  record({"test::b", kSecond}, kMatmul);
  synchronize_device(0);
  return host_now() - begin;
}

TEST_F(CoreLimitTest, nothing_is_limited_at_first) {
  EXPECT_EQ(device_cores(0), (CoreCount{chip().cube_cores, chip().vector_cores}));
  EXPECT_EQ(stream_cores(kFirst), device_cores(0));
  EXPECT_EQ(&chip_of(kFirst), &chip());
}

TEST_F(CoreLimitTest, half_the_cubes_double_the_time_of_a_product) {
  const base::SimTime whole = time_on(kFirst) - chip().launch_floor;
  limit_device_cores(0, half());
  const base::SimTime limited = time_on(kFirst) - chip().launch_floor;
  // Starts, the first fill and the last wave of tiles do not double.
  const auto twice = 2.0 * static_cast<double>(whole.count());
  EXPECT_NEAR(static_cast<double>(limited.count()), twice, 0.03 * twice);
}

TEST_F(CoreLimitTest, lifting_a_limit_restores_the_picosecond) {
  const base::SimTime before = time_on(kFirst);
  limit_stream_cores(kFirst, half());
  EXPECT_NE(time_on(kFirst), before);
  lift_stream_limit(kFirst);
  EXPECT_EQ(time_on(kFirst), before);
  limit_device_cores(0, half());
  limit_device_cores(0, {chip().cube_cores, chip().vector_cores});
  EXPECT_EQ(time_on(kFirst), before);
}

TEST_F(CoreLimitTest, a_stream_goes_before_its_device) {
  limit_device_cores(0, {10, 20});
  limit_stream_cores(kFirst, {4, kUnchangedCores});
  EXPECT_EQ(stream_cores(kFirst), (CoreCount{4, 20}));
  EXPECT_EQ(stream_cores(kSecond), (CoreCount{10, 20}));
  EXPECT_EQ(stream_cores({1, 1}).cube, chip().cube_cores);
}

TEST_F(CoreLimitTest, halves_of_the_card_do_not_slow_each_other) {
  limit_stream_cores(kFirst, half());
  limit_stream_cores(kSecond, half());
  // One eager call later, the second product runs beside the first.
  const base::SimTime one = time_on(kFirst) + 2 * std::chrono::microseconds(1);
  EXPECT_LE(both_at_once(), one + std::chrono::microseconds(1));
}

TEST_F(CoreLimitTest, whole_cards_do) { EXPECT_GT(both_at_once(), time_on(kFirst) * 19 / 10); }

TEST_F(CoreLimitTest, counts_out_of_range_are_refused) {
  EXPECT_THROW(limit_device_cores(0, {0, 1}), base::ValueError);
  EXPECT_THROW(limit_device_cores(0, {chip().cube_cores + 1, 1}), base::ValueError);
  EXPECT_THROW(limit_stream_cores(kFirst, {1, -2}), base::ValueError);
  EXPECT_THROW(limit_device_cores(64, {1, 1}), base::ValueError);
  EXPECT_EQ(&chip_of(kFirst), &chip());
}

TEST_F(CoreLimitTest, a_new_chip_has_no_limits) {
  limit_device_cores(0, half());
  set_chip(chip_for_tests());
  EXPECT_EQ(device_cores(0).cube, chip().cube_cores);
}

}  // namespace
}  // namespace npu_sim::runtime
