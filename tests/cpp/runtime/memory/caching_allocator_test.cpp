#include "runtime/memory/caching_allocator.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "../chip_for_tests.h"

namespace npu_sim::runtime {
namespace {

constexpr StreamId kStream{0, 0};

std::int64_t current(const PoolStats& stats, PoolKind kind = PoolKind::kAll) {
  return stats[static_cast<std::size_t>(kind)].current;
}

using CachingAllocatorTest = RuntimeTest;

TEST_F(CachingAllocatorTest, nothing_costs_nothing) {
  EXPECT_EQ(allocate(kStream, 0), nullptr);
  deallocate(nullptr);
  EXPECT_EQ(memory_stats(0).num_device_alloc, 0);
}

TEST_F(CachingAllocatorTest, sizes_are_rounded_up_to_512_bytes) {
  void* memory = allocate(kStream, 513);
  EXPECT_EQ(allocated_size(memory), 1024U);
  EXPECT_EQ(current(memory_stats(0).allocated_bytes), 1024);
  EXPECT_EQ(current(memory_stats(0).requested_bytes), 513);
  deallocate(memory);
  EXPECT_EQ(allocated_size(memory), 0U);
}

TEST_F(CachingAllocatorTest, small_requests_share_a_segment_of_2_mib) {
  void* first = allocate(kStream, kMib);
  void* second = allocate(kStream, kMib);
  EXPECT_EQ(current(memory_stats(0).reserved_bytes, PoolKind::kSmall), 2 << 20);
  EXPECT_EQ(static_cast<char*>(second) - static_cast<char*>(first), 1 << 20);
  deallocate(first);
  deallocate(second);
}

TEST_F(CachingAllocatorTest, middle_requests_share_a_segment_of_20_mib) {
  void* first = allocate(kStream, 9 * kMib);
  void* second = allocate(kStream, 9 * kMib);
  EXPECT_EQ(current(memory_stats(0).reserved_bytes, PoolKind::kLarge), 20 << 20);
  deallocate(first);
  deallocate(second);
}

TEST_F(CachingAllocatorTest, large_requests_get_a_segment_rounded_to_2_mib) {
  void* memory = allocate(kStream, 11 * kMib);
  EXPECT_EQ(current(memory_stats(0).reserved_bytes), 12 << 20);
  EXPECT_EQ(allocated_size(memory), 12U << 20);  // a rest of 1 MiB is not worth splitting
  deallocate(memory);
}

TEST_F(CachingAllocatorTest, a_freed_block_is_reused) {
  void* memory = allocate(kStream, 4096);
  deallocate(memory);
  EXPECT_EQ(allocate(kStream, 4096), memory);
  EXPECT_EQ(memory_stats(0).num_device_alloc, 1);
  deallocate(memory);
}

TEST_F(CachingAllocatorTest, free_neighbours_join_again) {
  std::vector<void*> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(allocate(kStream, 512 << 10));
  for (const int i : {0, 2, 1, 3}) deallocate(blocks[static_cast<std::size_t>(i)]);
  const auto segments = memory_snapshot(0);
  ASSERT_EQ(segments.size(), 1U);
  ASSERT_EQ(segments[0].blocks.size(), 1U);
  EXPECT_EQ(segments[0].blocks[0].size, 2 << 20);
  EXPECT_EQ(current(memory_stats(0).inactive_split), 0);
  EXPECT_EQ(current(memory_stats(0).inactive_split_bytes), 0);
}

TEST_F(CachingAllocatorTest, the_best_fit_is_taken) {
  void* large = allocate(kStream, 64 << 10);
  void* wall = allocate(kStream, 512);
  void* small = allocate(kStream, 16 << 10);
  void* end = allocate(kStream, 512);
  deallocate(large);
  deallocate(small);
  EXPECT_EQ(allocate(kStream, 16 << 10), small);
  for (void* memory : {wall, small, end}) deallocate(memory);
}

TEST_F(CachingAllocatorTest, streams_do_not_share_cached_blocks) {
  void* memory = allocate(kStream, 4096);
  deallocate(memory);
  void* other = allocate({0, 1}, 4096);
  EXPECT_NE(other, memory);
  EXPECT_EQ(current(memory_stats(0).reserved_bytes), 4 << 20);
  deallocate(other);
}

TEST_F(CachingAllocatorTest, empty_cache_gives_whole_free_segments_back) {
  void* kept = allocate(kStream, 4096);
  void* freed = allocate(kStream, 50 * kMib);
  deallocate(freed);
  empty_cache(0);
  EXPECT_EQ(current(memory_stats(0).reserved_bytes), 2 << 20);
  EXPECT_EQ(memory_stats(0).num_device_free, 1);
  deallocate(kept);
  empty_cache(0);
  EXPECT_EQ(current(memory_stats(0).reserved_bytes), 0);
}

TEST_F(CachingAllocatorTest, a_double_free_is_reported_and_harmless) {
  void* memory = allocate(kStream, 4096);
  deallocate(memory);
  ::testing::internal::CaptureStderr();
  deallocate(memory);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("free each allocation once"),
            std::string::npos);
  EXPECT_EQ(current(memory_stats(0).allocated_bytes), 0);
}

TEST_F(CachingAllocatorTest, a_hundred_thousand_allocations_leak_nothing) {
  std::mt19937 random(5);
  std::vector<void*> live;
  for (int i = 0; i < 100'000; ++i) {
    if (live.size() > 200 || (!live.empty() && random() % 2)) {
      std::swap(live[random() % live.size()], live.back());
      deallocate(live.back());
      live.pop_back();
    }
    live.push_back(allocate({0, static_cast<int>(random() % 2)}, 1 + random() % (300 << 10)));
  }
  for (void* memory : live) deallocate(memory);
  const MemoryStats stats = memory_stats(0);
  for (const PoolStats* each :
       {&stats.allocation, &stats.active, &stats.allocated_bytes, &stats.active_bytes,
        &stats.requested_bytes, &stats.inactive_split, &stats.inactive_split_bytes}) {
    for (const Stat& stat : *each) {
      EXPECT_EQ(stat.current, 0);
      EXPECT_EQ(stat.allocated, stat.freed);
    }
  }
  empty_cache(0);
  EXPECT_EQ(current(memory_stats(0).reserved_bytes), 0);
  EXPECT_TRUE(memory_snapshot(0).empty());
}

}  // namespace
}  // namespace npu_sim::runtime
