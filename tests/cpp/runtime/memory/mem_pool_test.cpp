#include "runtime/memory/mem_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "../chip_for_tests.h"
#include "base/error.h"

namespace npu_sim::runtime {
namespace {

constexpr StreamId kStream{0, 0};

std::int64_t reserved() {
  return memory_stats(0).reserved_bytes[static_cast<std::size_t>(PoolKind::kAll)].current;
}

// While it lives, this thread's allocations on device 0 come from the pool.
class Using {
 public:
  explicit Using(MemPoolId pool) : pool_(pool), previous_(begin_mem_pool(0, pool)) {}
  ~Using() { end_mem_pool(0, pool_, previous_); }
  Using(const Using&) = delete;
  Using& operator=(const Using&) = delete;

 private:
  MemPoolId pool_;
  MemPoolId previous_;
};

void* allocate_in(MemPoolId pool, std::size_t bytes) {
  const Using scope(pool);
  return allocate(kStream, bytes);
}

using MemPoolTest = RuntimeTest;

TEST_F(MemPoolTest, blocks_of_two_pools_never_mix) {
  const MemPoolId pool = create_mem_pool({});
  void* ours = allocate(kStream, 512);
  void* theirs = allocate_in(pool, 512);
  EXPECT_EQ(reserved(), 4 << 20);  // one small segment each
  deallocate(theirs);
  void* more = allocate(kStream, 512);
  EXPECT_NE(more, theirs);
  EXPECT_EQ(allocate_in(pool, 512), theirs);
  deallocate(more);
  deallocate(ours);
  deallocate(theirs);
  release_mem_pool(pool);
}

TEST_F(MemPoolTest, emptying_the_cache_leaves_a_living_pool_alone) {
  const MemPoolId pool = create_mem_pool({});
  deallocate(allocate_in(pool, 512));
  empty_cache(0);
  EXPECT_EQ(reserved(), 2 << 20);
  release_mem_pool(pool);
  EXPECT_EQ(reserved(), 0);
}

TEST_F(MemPoolTest, a_released_pool_gives_a_segment_back_when_its_last_block_is_freed) {
  const MemPoolId pool = create_mem_pool({});
  void* first = allocate_in(pool, 512);
  void* second = allocate_in(pool, 512);
  release_mem_pool(pool);
  deallocate(first);
  EXPECT_EQ(reserved(), 2 << 20);
  deallocate(second);
  EXPECT_EQ(reserved(), 0);
}

TEST_F(MemPoolTest, uses_are_counted) {
  const MemPoolId pool = create_mem_pool({});
  EXPECT_EQ(mem_pool_uses(pool), 1);
  {
    const Using outer(pool);
    const Using inner(pool);
    EXPECT_EQ(mem_pool_uses(pool), 3);
  }
  EXPECT_EQ(mem_pool_uses(pool), 1);
  release_mem_pool(pool);
  EXPECT_EQ(mem_pool_uses(pool), 0);
  EXPECT_THROW((void)begin_mem_pool(0, pool), base::ValueError);
}

TEST_F(MemPoolTest, uses_nest) {
  const MemPoolId outer = create_mem_pool({});
  const MemPoolId inner = create_mem_pool({});
  {
    const Using first(outer);
    { const Using second(inner); }
    EXPECT_EQ(current_mem_pool(0), outer);
    EXPECT_EQ(current_mem_pool(1), kDefaultPool);
  }
  EXPECT_EQ(current_mem_pool(0), kDefaultPool);
  release_mem_pool(outer);
  release_mem_pool(inner);
}

TEST_F(MemPoolTest, other_threads_keep_their_pool) {
  const MemPoolId pool = create_mem_pool({});
  {
    const Using scope(pool);
    MemPoolId seen = pool;
    std::thread([&] { seen = current_mem_pool(0); }).join();
    EXPECT_EQ(seen, kDefaultPool);
  }
  release_mem_pool(pool);
}

TEST_F(MemPoolTest, an_unsplit_segment_serves_one_allocation) {
  const MemPoolId pool = create_mem_pool({.no_split = true});
  void* first = allocate_in(pool, 512);
  void* second = allocate_in(pool, 512);
  EXPECT_EQ(reserved(), 4 << 20);
  deallocate(first);
  deallocate(second);
  release_mem_pool(pool);
}

TEST_F(MemPoolTest, a_lending_pool_serves_others_before_they_fail) {
  for (const bool lends : {false, true}) {
    const MemPoolId pool = create_mem_pool({.use_on_oom = lends});
    constexpr std::size_t kMost = 200 * kMib;  // of 256
    deallocate(allocate_in(pool, kMost));
    if (lends) {
      void* lent = allocate(kStream, kMost);
      EXPECT_EQ(device_of(lent), 0);
      deallocate(lent);
    } else {
      EXPECT_THROW((void)allocate(kStream, kMost), base::OutOfMemoryError);
    }
    release_mem_pool(pool);
    EXPECT_EQ(reserved(), 0);
  }
}

TEST_F(MemPoolTest, a_snapshot_names_the_pool_of_each_segment) {
  const MemPoolId pool = create_mem_pool({});
  void* block = allocate_in(pool, 512);
  const auto segments = memory_snapshot(0);
  ASSERT_EQ(segments.size(), 1U);
  EXPECT_EQ(segments.front().mem_pool, pool);
  deallocate(block);
  release_mem_pool(pool);
}

}  // namespace
}  // namespace npu_sim::runtime
