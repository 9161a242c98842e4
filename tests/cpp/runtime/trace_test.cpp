#include "runtime/trace.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "chip_for_tests.h"
#include "model/cost/cost.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {
namespace {

using base::SimTime;
using std::chrono::nanoseconds;
constexpr LaunchSite kSite{"test::op", {0, 0}};

using TraceTest = RuntimeTest;

TEST_F(TraceTest, sees_the_kernels_between_start_and_stop) {
  record({"test::before", {0, 0}}, streaming(1));
  const auto id = start_trace();
  record(kSite, streaming(64));
  record(kSite, model::NoWork{});
  const TraceData data = stop_trace(id);
  ASSERT_EQ(data.kernels.size(), 1U);
  EXPECT_EQ(data.kernels[0].op, "test::op");
  EXPECT_EQ(data.kernels[0].name, "vector");
  EXPECT_EQ(data.kernels[0].work, model::Work(streaming(64)));
  EXPECT_EQ(data.begin, SimTime(nanoseconds(1000)));
  EXPECT_EQ(data.end, SimTime(nanoseconds(2100)));
}

TEST_F(TraceTest, a_kernel_alone_has_its_exact_span) {
  const auto id = start_trace();
  record(kSite, streaming(64));
  const TraceData data = stop_trace(id);
  const SimTime duration = model::cost(streaming(64), chip()).duration;
  ASSERT_EQ(data.kernels.size(), 1U);
  EXPECT_EQ(data.kernels[0].issued, SimTime(nanoseconds(1000)));
  EXPECT_EQ(data.kernels[0].start, SimTime(nanoseconds(1000)));
  EXPECT_EQ(data.kernels[0].end, SimTime(nanoseconds(1000)) + duration);
  EXPECT_EQ(data.kernels[0].time.duration, duration);
}

TEST_F(TraceTest, stopping_does_not_move_the_host_or_what_follows) {
  const auto run = [](bool traced) {
    set_chip(chip_for_tests());
    const auto id = traced ? start_trace() : 0;
    record({"test::op", {0, 0}}, streaming(64));
    if (traced) (void)stop_trace(id);
    record({"test::op", {0, 1}}, streaming(64));
    synchronize_device(0);
    return host_now();
  };
  EXPECT_EQ(run(true), run(false));
}

TEST_F(TraceTest, kernels_are_in_order_of_start) {
  const auto id = start_trace();
  record({"test::long", {0, 0}}, streaming(64));
  record({"test::behind", {0, 0}}, streaming(1));
  record({"test::beside", {0, 1}}, streaming(1));
  const TraceData data = stop_trace(id);
  ASSERT_EQ(data.kernels.size(), 3U);
  EXPECT_EQ(data.kernels[0].op, "test::long");
  EXPECT_EQ(data.kernels[1].op, "test::beside");
  EXPECT_EQ(data.kernels[2].op, "test::behind");
}

TEST_F(TraceTest, kernels_that_share_the_card_take_longer_than_alone) {
  const auto id = start_trace();
  record({"test::first", {0, 0}}, streaming(64));
  record({"test::second", {0, 1}}, streaming(64));
  for (const KernelRecord& kernel : stop_trace(id).kernels) {
    EXPECT_GT(kernel.end - kernel.start, kernel.time.duration);
  }
}

TEST_F(TraceTest, traces_overlap_freely) {
  const auto outer = start_trace();
  record(kSite, streaming(1));
  const auto inner = start_trace();
  record(kSite, streaming(1));
  EXPECT_EQ(stop_trace(outer).kernels.size(), 2U);
  record(kSite, streaming(1));
  EXPECT_EQ(stop_trace(inner).kernels.size(), 2U);
}

TEST_F(TraceTest, memory_changes_are_seen) {
  const auto id = start_trace();
  void* memory = allocate({0, 0}, 4096);
  deallocate(memory);
  const TraceData data = stop_trace(id);
  ASSERT_EQ(data.memory.size(), 2U);
  EXPECT_EQ(data.memory[0].allocated_bytes, 4096);
  EXPECT_EQ(data.memory[0].reserved_bytes, 2 << 20);
  EXPECT_EQ(data.memory[1].allocated_bytes, 0);
}

TEST_F(TraceTest, a_trace_stops_once) {
  const auto id = start_trace();
  (void)stop_trace(id);
  EXPECT_THROW((void)stop_trace(id), base::ValueError);
  EXPECT_THROW((void)stop_trace(-1), base::ValueError);
}

TEST_F(TraceTest, totals_count_without_a_trace) {
  record(kSite, streaming(64));
  synchronize(kSite.stream);
  EXPECT_EQ(device_totals(0).kernels, 1);
  EXPECT_EQ(device_totals(0).busy, model::cost(streaming(64), chip()).duration);
}

}  // namespace
}  // namespace npu_sim::runtime
