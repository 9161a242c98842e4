// L2 between kernels, as launches see it.
#include "runtime/l2_state.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "base/error.h"
#include "chip_for_tests.h"
#include "model/cost/cost.h"
#include "runtime/stream.h"
#include "runtime/trace.h"

namespace npu_sim::runtime {
namespace {

using L2StateTest = RuntimeTest;
using model::AddressRange;

constexpr StreamId kStream{0, 0};

AddressRange at(std::uint64_t mib, std::uint64_t size_mib) {
  return {mib * kMib, (mib + size_mib) * kMib};
}

// An element-wise kernel from `read` to `written` and its record.
KernelRecord kernel(AddressRange read, AddressRange written, StreamId stream = kStream) {
  const std::array<AddressRange, 1> in = {read};
  const std::array<AddressRange, 1> out = {written};
  const model::VectorWork work{.elements = static_cast<std::int64_t>(written.size() / 4),
                               .read = model::Bytes(static_cast<std::int64_t>(read.size())),
                               .written = model::Bytes(static_cast<std::int64_t>(written.size()))};
  const std::int64_t trace = start_trace();
  record({"test::copy", stream}, work, {.read = in, .written = out});
  return stop_trace(trace).kernels.front();
}

TEST_F(L2StateTest, a_kernel_on_a_fresh_card_costs_what_the_model_says_of_it_alone) {
  const KernelRecord first = kernel(at(0, 16), at(16, 16));
  EXPECT_EQ(first.time.duration, model::cost(first.work, chip()).duration);
}

TEST_F(L2StateTest, reading_what_the_kernel_before_wrote_is_faster) {
  const KernelRecord first = kernel(at(0, 16), at(16, 16));
  const KernelRecord second = kernel(at(16, 16), at(32, 16));
  EXPECT_EQ(second.time.bytes_hit.count(), std::int64_t{16} << 20);
  EXPECT_EQ(second.time.bytes_hibl_read.count(), 0);
  EXPECT_LT(second.time.duration, first.time.duration);
}

TEST_F(L2StateTest, after_a_flush_a_kernel_is_as_cold_as_the_first) {
  const KernelRecord first = kernel(at(0, 16), at(16, 16));
  EXPECT_EQ(flush_l2(0), 16 * kMib);
  const KernelRecord again = kernel(at(0, 16), at(16, 16));
  EXPECT_EQ(again.time.duration, first.time.duration);
}

TEST_F(L2StateTest, dirty_lines_of_earlier_kernels_are_paid_for_when_they_are_pushed_out) {
  kernel(at(0, 1), at(16, 80));
  const KernelRecord reader = kernel(at(1000, 200), at(2000, 1));
  EXPECT_GE(reader.time.bytes_hibl_written.count(), std::int64_t{80} << 20);
}

TEST_F(L2StateTest, devices_have_caches_of_their_own) {
  kernel(at(0, 16), at(16, 16));
  const KernelRecord other = kernel(at(16, 16), at(32, 16), {1, 0});
  EXPECT_EQ(other.time.bytes_hit.count(), 0);
}

TEST_F(L2StateTest, a_new_chip_starts_with_foreign_lines) {
  kernel(at(0, 16), at(16, 16));
  set_chip(chip_for_tests());
  EXPECT_EQ(l2_contents(0).resident, 0u);
}

TEST_F(L2StateTest, the_same_launches_give_the_same_picoseconds) {
  const auto run = [] {
    std::vector<base::SimTime> times;
    for (std::uint64_t i = 0; i < 50; ++i) {
      times.push_back(kernel(at(i * 7 % 60, 8), at(i * 11 % 60, 8)).time.duration);
    }
    return times;
  };
  const auto first = run();
  set_chip(chip_for_tests());
  EXPECT_EQ(run(), first);
}

TEST_F(L2StateTest, kernels_on_one_stream_add_up) {
  std::vector<KernelRecord> kernels;
  for (std::uint64_t i = 0; i < 4; ++i)
    kernels.push_back(kernel(at(i * 400, 64), at(i * 400 + 200, 64)));
  base::SimTime sum{};
  for (const KernelRecord& one : kernels) sum += one.time.duration;
  EXPECT_EQ(kernels.back().end - kernels.front().start, sum);
}

TEST_F(L2StateTest, two_streams_take_between_the_longer_kernel_and_the_sum) {
  const auto run = [](StreamId first, StreamId second) {
    set_chip(chip_for_tests());
    const std::array<AddressRange, 1> in = {at(0, 128)};
    const std::array<AddressRange, 1> out = {at(1000, 128)};
    const model::Work copy = streaming(128);
    const model::Work product = model::MatmulWork{.m = 4096, .n = 4096, .k = 4096};
    record({"test::copy", first}, copy, {.read = in, .written = out});
    record({"test::product", second}, product);
    synchronize_device(0);
    return host_now();
  };
  const base::SimTime apart = run({0, 1}, {0, 2});
  const base::SimTime in_turn = run({0, 1}, {0, 1});
  EXPECT_LT(apart, in_turn);
  EXPECT_GE(apart, model::cost(streaming(128), chip()).duration);
}

TEST_F(L2StateTest, kernels_launched_after_a_change_of_fidelity_are_timed_at_the_new_one) {
  const KernelRecord tile = kernel(at(0, 16), at(16, 16));
  set_fidelity(model::Fidelity::kRoofline);
  const KernelRecord roofline = kernel(at(0, 16), at(16, 16));
  set_fidelity(model::Fidelity::kTile);
  EXPECT_EQ(roofline.time.bytes_hit.count(), 0);
  EXPECT_EQ(roofline.time.bytes_hibl_written.count(), std::int64_t{16} << 20);
  EXPECT_EQ(kernel(at(1000, 16), at(2000, 1)).time.bytes_hit.count(), 0);
  EXPECT_LT(tile.time.bytes_hibl_written.count(), roofline.time.bytes_hibl_written.count());
}

TEST_F(L2StateTest, a_device_that_does_not_exist_is_an_error) {
  EXPECT_THROW(flush_l2(device_count()), base::ValueError);
  EXPECT_THROW(static_cast<void>(l2_contents(-1)), base::ValueError);
}

}  // namespace
}  // namespace npu_sim::runtime
