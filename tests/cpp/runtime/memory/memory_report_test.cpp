#include <gtest/gtest.h>

#include "../chip_for_tests.h"
#include "runtime/memory/address_space.h"

namespace npu_sim::runtime {
namespace {

constexpr StreamId kStream{0, 0};
constexpr auto kAll = static_cast<std::size_t>(PoolKind::kAll);

class MemoryReportTest : public RuntimeTest {
 protected:
  void TearDown() override { record_memory_history(0); }
};

TEST_F(MemoryReportTest, the_peak_stays_until_it_is_reset) {
  deallocate(allocate(kStream, 8 * kMib));
  EXPECT_EQ(memory_stats(0).allocated_bytes[kAll].peak, 8 << 20);
  reset_peak_memory_stats(0);
  EXPECT_EQ(memory_stats(0).allocated_bytes[kAll].peak, 0);
}

TEST_F(MemoryReportTest, running_totals_count_every_allocation) {
  for (int i = 0; i < 3; ++i) deallocate(allocate(kStream, 1024));
  EXPECT_EQ(memory_stats(0).allocation[kAll].allocated, 3);
  EXPECT_EQ(memory_stats(0).allocated_bytes[kAll].freed, 3 * 1024);
  reset_accumulated_memory_stats(0);
  EXPECT_EQ(memory_stats(0).allocation[kAll].allocated, 0);
}

TEST_F(MemoryReportTest, the_rest_of_a_split_segment_is_inactive) {
  void* memory = allocate(kStream, 1024);
  EXPECT_EQ(memory_stats(0).inactive_split[kAll].current, 1);
  EXPECT_EQ(memory_stats(0).inactive_split_bytes[kAll].current, (2 << 20) - 1024);
  deallocate(memory);
}

TEST_F(MemoryReportTest, a_snapshot_covers_each_segment_without_gaps) {
  void* first = allocate(kStream, 1000);
  void* second = allocate(kStream, 5 * kMib);
  const auto segments = memory_snapshot(0);
  ASSERT_EQ(segments.size(), 2U);
  for (const SegmentSnapshot& segment : segments) {
    std::uintptr_t at = segment.address;
    for (const BlockSnapshot& block : segment.blocks) {
      EXPECT_EQ(block.address, at);
      at += static_cast<std::uintptr_t>(block.size);
    }
    EXPECT_EQ(at, segment.address + static_cast<std::uintptr_t>(segment.total_size));
  }
  EXPECT_EQ(segments[0].requested_size, 1000);
  EXPECT_EQ(segments[0].allocated_size, 1024);
  EXPECT_TRUE(segments[1].is_large);
  deallocate(first);
  deallocate(second);
}

TEST_F(MemoryReportTest, history_tells_what_happened_in_order) {
  record_memory_history(100);
  deallocate(allocate(kStream, 1000));
  using Action = MemoryTraceEntry::Action;
  const auto history = memory_history(0);
  ASSERT_EQ(history.size(), 4U);
  EXPECT_EQ(history[0].action, Action::kSegmentAlloc);
  EXPECT_EQ(history[1].action, Action::kAlloc);
  EXPECT_EQ(history[2].action, Action::kFreeRequested);
  EXPECT_EQ(history[3].action, Action::kFreeCompleted);
  EXPECT_EQ(history[1].address, kSimulatedBase);
}

TEST_F(MemoryReportTest, history_keeps_the_newest_entries_and_is_off_at_zero) {
  record_memory_history(2);
  for (int i = 0; i < 10; ++i) deallocate(allocate(kStream, 1000));
  EXPECT_EQ(memory_history(0).size(), 2U);
  record_memory_history(0);
  EXPECT_TRUE(memory_history(0).empty());
}

}  // namespace
}  // namespace npu_sim::runtime
