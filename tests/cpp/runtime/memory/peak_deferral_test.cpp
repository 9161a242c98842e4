#include "runtime/memory/peak_deferral.h"

#include <gtest/gtest.h>

#include "../chip_for_tests.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::runtime {
namespace {

using PeakDeferralTest = RuntimeTest;

Stat allocated_bytes(int device) { return memory_stats(device).allocated_bytes[0]; }

TEST_F(PeakDeferralTest, what_is_freed_inside_is_no_peak) {
  reset_peak_memory_stats(0);
  const std::int64_t before = allocated_bytes(0).peak;
  {
    const PeakDeferral deferral;
    deallocate(allocate({0, 0}, 4096));
  }
  EXPECT_EQ(allocated_bytes(0).peak, before);
}

TEST_F(PeakDeferralTest, what_outlives_the_outermost_one_is_a_peak) {
  reset_peak_memory_stats(0);
  const std::int64_t before = allocated_bytes(0).peak;
  void* kept = nullptr;
  {
    const PeakDeferral outer;
    {
      const PeakDeferral inner;
      kept = allocate({0, 0}, 4096);
    }
    EXPECT_EQ(allocated_bytes(0).peak, before);
  }
  EXPECT_EQ(allocated_bytes(0).peak, before + 4096);
  deallocate(kept);
}

TEST_F(PeakDeferralTest, every_device_that_allocated_is_brought_up_to_date) {
  void* first = nullptr;
  void* second = nullptr;
  {
    const PeakDeferral deferral;
    first = allocate({1, 0}, 512);
    second = allocate({2, 0}, 1024);
  }
  for (const int device : {1, 2}) {
    EXPECT_GE(allocated_bytes(device).peak, allocated_bytes(device).current);
  }
  EXPECT_GE(memory_stats(2).active_bytes[0].peak, 1024);
  deallocate(first);
  deallocate(second);
}

TEST_F(PeakDeferralTest, current_and_running_totals_count_at_once) {
  const Stat before = allocated_bytes(0);
  const PeakDeferral deferral;
  deallocate(allocate({0, 0}, 512));
  EXPECT_EQ(allocated_bytes(0).current, before.current);
  EXPECT_EQ(allocated_bytes(0).allocated, before.allocated + 512);
}

}  // namespace
}  // namespace npu_sim::runtime
