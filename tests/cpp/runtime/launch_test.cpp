#include "runtime/launch.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "chip_for_tests.h"
#include "model/cost/cost.h"
#include "runtime/stream.h"
#include "runtime/trace.h"

namespace npu_sim::runtime {
namespace {

using base::SimTime;
using std::chrono::nanoseconds;
constexpr LaunchSite kSite{"test::op", {0, 0}};

using LaunchTest = RuntimeTest;

TEST_F(LaunchTest, an_operator_charges_the_host_its_eager_cost) {
  record(kSite, streaming(512));
  EXPECT_EQ(host_now(), SimTime(nanoseconds(1000)));
}

TEST_F(LaunchTest, a_view_charges_the_host_its_view_cost_and_launches_nothing) {
  record(kSite, model::NoWork{});
  EXPECT_EQ(host_now(), SimTime(nanoseconds(100)));
  EXPECT_EQ(device_totals(0).kernels, 0);
}

TEST_F(LaunchTest, a_kernel_alone_ends_its_cost_after_its_issue) {
  const model::Work work = streaming(512);
  record(kSite, work);
  synchronize(kSite.stream);
  EXPECT_EQ(host_now(), SimTime(nanoseconds(1000)) + model::cost(work, chip()).duration);
}

TEST_F(LaunchTest, small_operators_are_bound_by_the_host) {
  model::ChipSpec slow_host = chip_for_tests();
  slow_host.host.eager_op_ns = 20'000;
  set_chip(slow_host);
  const model::Work work = streaming(0);
  const SimTime duration = model::cost(work, chip()).duration;
  ASSERT_LT(duration, nanoseconds(20'000));
  for (int i = 0; i < 1000; ++i) record(kSite, work);
  synchronize(kSite.stream);
  EXPECT_EQ(host_now(), 1000 * SimTime(nanoseconds(20'000)) + duration);
}

TEST_F(LaunchTest, a_blocking_copy_makes_the_host_wait) {
  const model::CopyWork copy{.route = model::CopyRoute::kDeviceToHost,
                             .read = model::Bytes(64 << 20),
                             .written = model::Bytes(64 << 20)};
  record_copy(kSite, copy, true);
  EXPECT_EQ(host_now(), SimTime(nanoseconds(1500)) + model::cost(copy, chip()).duration);
}

TEST_F(LaunchTest, a_copy_that_does_not_block_costs_the_host_its_call) {
  const model::CopyWork copy{.route = model::CopyRoute::kHostToDevice,
                             .read = model::Bytes(64 << 20),
                             .written = model::Bytes(64 << 20)};
  record_copy(kSite, copy, false);
  EXPECT_EQ(host_now(), SimTime(nanoseconds(1500)));
}

TEST_F(LaunchTest, a_copy_over_the_link_overlaps_a_kernel_on_another_stream) {
  const model::MatmulWork matmul{.m = 8192, .n = 8192, .k = 8192};
  const model::CopyWork copy{.route = model::CopyRoute::kHostToDevice,
                             .read = model::Bytes(1 << 20),
                             .written = model::Bytes(1 << 20)};
  record({"test::mm", {0, 0}}, matmul);
  record_copy({"test::copy", {0, 1}}, copy, false);
  synchronize_device(0);
  const SimTime alone = model::cost(matmul, chip()).duration + model::cost(copy, chip()).duration;
  EXPECT_LT(host_now(), SimTime(nanoseconds(1000)) + alone);
}

TEST_F(LaunchTest, a_host_fallback_makes_the_host_wait_and_is_counted) {
  const model::HostWork work{.to_host = model::Bytes(1 << 20),
                             .to_device = model::Bytes(1 << 20),
                             .host_traffic = model::Bytes(2 << 20)};
  record({"test::busy", {0, 0}}, streaming(512));
  const SimTime before = model::cost(streaming(512), chip()).duration + nanoseconds(1000);
  record({"test::fallback", {0, 0}}, work);
  EXPECT_EQ(host_now(), before + model::cost(work, chip()).duration);
  EXPECT_EQ(fallback_ops().at("test::fallback"), 1);
}

TEST_F(LaunchTest, undescribed_operators_are_counted) {
  for (int i = 0; i < 3; ++i) record({"test::unknown", {0, 0}}, model::UndescribedWork{});
  EXPECT_EQ(undescribed_ops().at("test::unknown"), 3);
}

TEST_F(LaunchTest, the_host_waits_when_it_runs_too_far_ahead) {
  model::VectorWork work = streaming(64);
  work.written = {};  // nothing dirty for the next kernel to push out
  const SimTime duration = model::cost(work, chip()).duration;
  for (int i = 0; i < 5000; ++i) record(kSite, work);
  EXPECT_GT(host_now(), 5000 * SimTime(nanoseconds(1000)));
  synchronize(kSite.stream);
  EXPECT_EQ(host_now(), SimTime(nanoseconds(1000)) + 5000 * duration);
}

TEST_F(LaunchTest, values_come_before_time) {
  std::string order;
  const int result = launch(
      kSite,
      [&] {
        order += "compute ";
        return 7;
      },
      [&](int value) {
        order += "describe " + std::to_string(value);
        return model::Work(model::VectorWork{.elements = value});
      });
  EXPECT_EQ(result, 7);
  EXPECT_EQ(order, "compute describe 7");
  EXPECT_EQ(device_totals(0).kernels, 1);
}

TEST_F(LaunchTest, equal_texts_are_interned_once) {
  const std::string text = "test::a_name_longer_than_a_short_string";
  const auto first = intern(text);
  EXPECT_EQ(first.data(), intern(std::string(text)).data());
  EXPECT_NE(first.data(), text.data());
}

TEST_F(LaunchTest, a_stream_that_does_not_exist_is_an_error) {
  EXPECT_THROW(record({"test::op", {0, 97}}, streaming(1)), base::ValueError);
  EXPECT_THROW(record({"test::op", {99, 0}}, streaming(1)), base::ValueError);
}

}  // namespace
}  // namespace npu_sim::runtime
