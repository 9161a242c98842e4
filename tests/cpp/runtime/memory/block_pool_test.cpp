#include "runtime/memory/block_pool.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <set>

namespace npu_sim::runtime {
namespace {

Block block_of(std::size_t size) {
  Block block;
  block.size = size;
  return block;
}

TEST(BlockPool, finds_nothing_when_empty) {
  const BlockPool pool;
  EXPECT_EQ(pool.find(kBlockBytes), nullptr);
  EXPECT_EQ(pool.find(std::size_t{1} << 30), nullptr);
}

TEST(BlockPool, finds_the_smallest_block_that_fits) {
  BlockPool pool;
  Block small = block_of(1024);
  Block middle = block_of(kSmallSegment);
  Block large = block_of(64 << 20);
  for (Block* block : {&large, &small, &middle}) pool.insert(block);
  EXPECT_EQ(pool.find(512), &small);
  EXPECT_EQ(pool.find(1536), &middle);
  EXPECT_EQ(pool.find(kSmallSegment + 512), &large);
  EXPECT_EQ(pool.find(65 << 20), nullptr);
}

TEST(BlockPool, an_erased_block_is_not_found) {
  BlockPool pool;
  Block first = block_of(4096);
  Block second = block_of(4096);
  pool.insert(&first);
  pool.insert(&second);
  pool.erase(&first);
  EXPECT_EQ(pool.find(4096), &second);
  pool.erase(&second);
  EXPECT_EQ(pool.find(4096), nullptr);
}

TEST(BlockPool, agrees_with_a_sorted_multiset) {
  BlockPool pool;
  std::deque<Block> blocks;
  std::vector<Block*> present;
  std::multiset<std::size_t> sizes;
  std::mt19937 random(3);
  for (int step = 0; step < 20000; ++step) {
    if (present.empty() || random() % 2) {
      Block& block = blocks.emplace_back(block_of(kBlockBytes * (1 + random() % 8192)));
      block.address = reinterpret_cast<std::byte*>(blocks.size());
      pool.insert(&block);
      present.push_back(&block);
      sizes.insert(block.size);
    } else {
      const std::size_t at = random() % present.size();
      pool.erase(present[at]);
      sizes.erase(sizes.find(present[at]->size));
      present.erase(present.begin() + static_cast<std::ptrdiff_t>(at));
    }
    const std::size_t wanted = kBlockBytes * (1 + random() % 8192);
    const auto expected = sizes.lower_bound(wanted);
    const Block* found = pool.find(wanted);
    ASSERT_EQ(found != nullptr, expected != sizes.end());
    if (found) {
      ASSERT_EQ(found->size, *expected);
    }
  }
}

}  // namespace
}  // namespace npu_sim::runtime
