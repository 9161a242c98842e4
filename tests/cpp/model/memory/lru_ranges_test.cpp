#include "model/memory/lru_ranges.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <vector>

namespace npu_sim::model {
namespace {

constexpr std::uint64_t kMib = 1 << 20;

TEST(LruRanges, HitsOnlyWhatWasUsedBefore) {
  LruRanges cache(4 * kMib);
  EXPECT_EQ(cache.read({0, kMib}), 0u);
  EXPECT_EQ(cache.read({kMib / 2, 2 * kMib}), kMib / 2);
  EXPECT_EQ(cache.find({0, 4 * kMib}), 2 * kMib);
}

TEST(LruRanges, NeverHoldsMoreThanItsCapacity) {
  LruRanges cache(kMib);
  for (std::uint64_t i = 0; i < 10; ++i) {
    cache.read({i * kMib, i * kMib + kMib / 3 * 2});
    EXPECT_LE(cache.resident(), kMib);
  }
  cache.write({100 * kMib, 110 * kMib});
  EXPECT_EQ(cache.resident(), kMib);
}

TEST(LruRanges, WhatWasUsedLongestAgoLeavesFirst) {
  LruRanges cache(3 * kMib);
  cache.read({0, kMib});
  cache.read({10 * kMib, 11 * kMib});
  cache.read({20 * kMib, 21 * kMib});
  cache.read({0, kMib});
  cache.read({30 * kMib, 31 * kMib});
  EXPECT_EQ(cache.find({0, kMib}), kMib);
  EXPECT_EQ(cache.find({10 * kMib, 11 * kMib}), 0u);
  EXPECT_EQ(cache.find({20 * kMib, 21 * kMib}), kMib);
}

TEST(LruRanges, ReadingDirtyBytesLeavesThemDirty) {
  LruRanges cache(4 * kMib);
  cache.write({kMib, 2 * kMib});
  cache.read({0, 3 * kMib});
  EXPECT_EQ(cache.dirty(), kMib);
  EXPECT_EQ(cache.resident(), 3 * kMib);
}

TEST(LruRanges, DirtyBytesAreCountedByTheTurnThatWroteThem) {
  LruRanges cache(2 * kMib);
  cache.write({0, kMib});
  cache.next_turn();
  cache.write({10 * kMib, 12 * kMib});
  EXPECT_EQ(cache.old_evicted(), kMib);
  EXPECT_EQ(cache.own_dirty(), 2 * kMib);
  cache.write({20 * kMib, 21 * kMib});
  EXPECT_EQ(cache.own_evicted(), kMib);
}

TEST(LruRanges, TheNumberOfRangesIsBounded) {
  LruRanges cache(1024 * kMib);
  for (std::uint64_t i = 0; i < 3 * LruRanges::kMaxRanges; ++i)
    cache.read({2 * i * kMib, 2 * i * kMib + 512});
  EXPECT_EQ(cache.ranges(), LruRanges::kMaxRanges);
}

TEST(LruRanges, SmallNeighboursBecomeOneRange) {
  LruRanges cache(1024 * kMib);
  for (std::uint64_t i = 0; i < 100; ++i) cache.read({i * 512, (i + 1) * 512});
  EXPECT_EQ(cache.ranges(), 1u);
}

// The same with a set of lines in order of use: slow, and plainly right.
class LineCache {
 public:
  explicit LineCache(std::size_t capacity) : capacity_(capacity) {}
  std::uint64_t use(std::uint64_t first, std::uint64_t last, bool writes) {
    std::uint64_t hit = 0;
    for (std::uint64_t line = first; line < last; ++line) hit += lines_.count(line);
    std::vector<std::pair<std::uint64_t, bool>> used;
    for (std::uint64_t line = first; line < last; ++line) {
      const auto found = lines_.find(line);
      used.emplace_back(line, writes || (found != lines_.end() && found->second.dirty));
    }
    for (const auto& [line, dirty] : used) lines_[line] = {++clock_, dirty};
    while (lines_.size() > capacity_) evict();
    return hit;
  }
  [[nodiscard]] std::uint64_t dirty() const {
    std::uint64_t count = 0;
    for (const auto& [line, state] : lines_) count += state.dirty ? 1 : 0;
    return count;
  }

 private:
  struct State {
    std::uint64_t used = 0;
    bool dirty = false;
  };
  void evict() {
    auto oldest = lines_.begin();
    for (auto it = lines_.begin(); it != lines_.end(); ++it) {
      if (it->second.used < oldest->second.used) oldest = it;
    }
    lines_.erase(oldest);
  }
  std::size_t capacity_;
  std::uint64_t clock_ = 0;
  std::map<std::uint64_t, State> lines_;
};

TEST(LruRanges, AgreesWithACacheOfSingleLines) {
  constexpr std::uint64_t kLine = 4096;  // no two neighbours are small enough to be joined
  LruRanges cache(200 * kLine);
  LineCache lines(200);
  std::mt19937_64 random(7);
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t first = random() % 400;
    const std::uint64_t last = first + 1 + random() % 30;
    const bool writes = random() % 3 == 0;
    const AddressRange range{first * kLine, last * kLine};
    const std::uint64_t hit = writes ? cache.write(range) : cache.read(range);
    ASSERT_EQ(hit, lines.use(first, last, writes) * kLine) << "use " << i;
    ASSERT_EQ(cache.dirty(), lines.dirty() * kLine) << "use " << i;
    if (i % 100 == 0) cache.next_turn();
  }
}

}  // namespace
}  // namespace npu_sim::model
