// Runs with max_split_size_mb and a garbage collection threshold set.
#include <gtest/gtest.h>

#include <cstdlib>

#include "../chip_for_tests.h"

namespace npu_sim::runtime {
namespace {

constexpr StreamId kStream{0, 0};
constexpr auto kAll = static_cast<std::size_t>(PoolKind::kAll);
const int kConfigured =
    setenv("PYTORCH_NPU_ALLOC_CONF", "max_split_size_mb:40,garbage_collection_threshold:0.8", 1);

using SplitLimitTest = RuntimeTest;

TEST_F(SplitLimitTest, a_block_past_the_limit_is_not_split) {
  ASSERT_EQ(kConfigured, 0);
  deallocate(allocate(kStream, 64 * kMib));
  void* memory = allocate(kStream, 30 * kMib);
  EXPECT_EQ(memory_stats(0).reserved_bytes[kAll].current, 94 << 20);
  deallocate(memory);
}

TEST_F(SplitLimitTest, a_request_past_the_limit_reuses_a_block_it_nearly_fills) {
  void* memory = allocate(kStream, 64 * kMib);
  deallocate(memory);
  EXPECT_EQ(allocate(kStream, 50 * kMib), memory);
  EXPECT_EQ(allocated_size(memory), 64 * kMib);
  EXPECT_EQ(memory_stats(0).oversize_allocations.current, 1);
  EXPECT_EQ(memory_stats(0).max_split_size, 40 << 20);
  deallocate(memory);
}

TEST_F(SplitLimitTest, past_the_threshold_old_free_segments_are_released) {
  deallocate(allocate(kStream, 100 * kMib));
  void* memory = allocate({0, 1}, 120 * kMib);  // 220 MiB of 256 would be past 80 %
  EXPECT_EQ(memory_stats(0).reserved_bytes[kAll].current, 120 << 20);
  EXPECT_EQ(memory_stats(0).num_alloc_retries, 0);
  deallocate(memory);
}

}  // namespace
}  // namespace npu_sim::runtime
