#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "../chip_for_tests.h"
#include "base/error.h"

namespace npu_sim::runtime {
namespace {

constexpr StreamId kStream{0, 0};

std::string out_of_memory_text(std::size_t bytes) {
  try {
    deallocate(allocate(kStream, bytes));
  } catch (const base::OutOfMemoryError& error) {
    return error.what();
  }
  return "no error";
}

class MemoryLimitsTest : public RuntimeTest {
 protected:
  void TearDown() override { set_memory_fraction(0, 1.0); }
};

TEST_F(MemoryLimitsTest, the_whole_card_can_be_allocated) {
  void* memory = allocate(kStream, kTestMemory);
  EXPECT_EQ(memory_info(0).free, 0);
  EXPECT_EQ(memory_info(0).total, kTestMemory);
  deallocate(memory);
}

TEST_F(MemoryLimitsTest, a_full_card_raises_torch_npus_text) {
  void* memory = allocate(kStream, 200 * kMib);
  EXPECT_EQ(out_of_memory_text(100 * kMib),
            "NPU out of memory. Tried to allocate 100.00 MiB (NPU 0; 256.00 MiB total capacity; "
            "200.00 MiB already allocated; 200.00 MiB current active; 56.00 MiB free; 200.00 MiB "
            "reserved in total by PyTorch).If reserved memory is >> allocated memory try setting "
            "max_split_size_mb to avoid fragmentation.");
  EXPECT_EQ(memory_stats(0).num_ooms, 1);
  deallocate(memory);
}

TEST_F(MemoryLimitsTest, more_than_the_card_holds_is_out_of_memory_at_once) {
  EXPECT_NE(out_of_memory_text(~std::size_t{0} >> 1).find("NPU out of memory"), std::string::npos);
}

TEST_F(MemoryLimitsTest, cached_segments_are_released_before_giving_up) {
  deallocate(allocate(kStream, 200 * kMib));
  void* memory = allocate({0, 1}, 200 * kMib);
  EXPECT_EQ(memory_stats(0).num_alloc_retries, 1);
  EXPECT_EQ(memory_stats(0).num_ooms, 0);
  deallocate(memory);
}

TEST_F(MemoryLimitsTest, a_fraction_limits_what_may_be_reserved) {
  set_memory_fraction(0, 0.5);
  EXPECT_NE(out_of_memory_text(150 * kMib)
                .find("256.00 MiB free; 128.00 MiB allowed; 0 bytes "
                      "reserved in total by PyTorch)."),
            std::string::npos);
  EXPECT_EQ(out_of_memory_text(128 * kMib), "no error");
}

TEST_F(MemoryLimitsTest, a_fraction_outside_its_range_is_an_error) {
  for (const double fraction : {-0.5, 1.01}) {
    EXPECT_THROW(set_memory_fraction(0, fraction), base::ValueError);
  }
  EXPECT_EQ(memory_fraction(0), 1.0);
}

TEST_F(MemoryLimitsTest, only_a_fragmented_card_refuses_what_would_fit_in_total) {
  std::vector<void*> segments;
  for (int i = 0; i < 16; ++i) segments.push_back(allocate(kStream, 16 * kMib));
  for (std::size_t i = 0; i < segments.size(); i += 2) deallocate(segments[i]);
  EXPECT_NE(out_of_memory_text(32 * kMib), "no error");
  EXPECT_EQ(out_of_memory_text(16 * kMib), "no error");
  for (std::size_t i = 1; i < segments.size(); i += 2) deallocate(segments[i]);
  EXPECT_EQ(out_of_memory_text(kTestMemory), "no error");
}

}  // namespace
}  // namespace npu_sim::runtime
