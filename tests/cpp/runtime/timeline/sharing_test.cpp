#include "runtime/timeline/sharing.h"

#include <gtest/gtest.h>

#include <array>

namespace npu_sim::runtime {
namespace {

constexpr std::uint64_t kHalf = kOne / 2;

Runner on_cube(std::uint64_t use, int priority = 0) { return {.use = {use}, .priority = priority}; }

TEST(Sharing, a_kernel_alone_runs_at_full_speed) {
  std::array runners = {on_cube(kOne)};
  share(runners);
  EXPECT_EQ(runners[0].speed, kOne);
}

TEST(Sharing, kernels_that_need_less_than_a_pipe_together_do_not_slow_down) {
  std::array runners = {on_cube(kHalf), on_cube(kHalf)};
  share(runners);
  EXPECT_EQ(runners[0].speed, kOne);
  EXPECT_EQ(runners[1].speed, kOne);
}

TEST(Sharing, two_kernels_that_fill_a_pipe_get_half_each) {
  std::array runners = {on_cube(kOne), on_cube(kOne)};
  share(runners);
  EXPECT_EQ(runners[0].speed, kHalf);
  EXPECT_EQ(runners[1].speed, kHalf);
}

TEST(Sharing, kernels_on_different_pipes_do_not_slow_down) {
  std::array runners = {Runner{.use = {kOne, 0}}, Runner{.use = {0, kOne}}};
  share(runners);
  EXPECT_EQ(runners[0].speed, kOne);
  EXPECT_EQ(runners[1].speed, kOne);
}

TEST(Sharing, a_kernel_off_the_full_pipe_goes_on_rising) {
  std::array runners = {Runner{.use = {kOne, 0}}, Runner{.use = {kOne, 0}},
                        Runner{.use = {0, kHalf}}};
  share(runners);
  EXPECT_EQ(runners[0].speed, kHalf);
  EXPECT_EQ(runners[1].speed, kHalf);
  EXPECT_EQ(runners[2].speed, kOne);
}

TEST(Sharing, an_urgent_kernel_takes_what_it_needs_first) {
  std::array runners = {on_cube(kOne, kLowestPriority), on_cube(kHalf, kHighestPriority)};
  share(runners);
  EXPECT_EQ(runners[0].speed, kHalf);
  EXPECT_EQ(runners[1].speed, kOne);
}

TEST(Sharing, no_pipe_is_ever_overcommitted) {
  for (std::uint64_t step = 1; step <= 16; ++step) {
    std::array runners = {Runner{.use = {kOne / step, kOne / 3, kHalf}},
                          Runner{.use = {kOne / 7, kOne, kOne / (17 - step)}},
                          Runner{.use = {kOne, 0, kOne / 5}, .priority = kHighestPriority}};
    share(runners);
    for (std::size_t pipe = 0; pipe < 3; ++pipe) {
      unsigned __int128 load = 0;
      for (const Runner& runner : runners) {
        EXPECT_LE(runner.speed, kOne);
        load += static_cast<unsigned __int128>(runner.use[pipe]) * runner.speed;
      }
      EXPECT_LE(static_cast<std::uint64_t>(load >> kFractionBits), kOne);
    }
  }
}

}  // namespace
}  // namespace npu_sim::runtime
