#include "runtime/memory/segment_map.h"

#include <gtest/gtest.h>

namespace npu_sim::runtime {
namespace {

class SegmentMapTest : public ::testing::Test {
 protected:
  void SetUp() override { map.reset(100); }
  SegmentMap map;
};

TEST_F(SegmentMapTest, takes_the_lowest_place_that_fits) {
  EXPECT_EQ(map.take(40), 0U);
  EXPECT_EQ(map.take(40), 40U);
  map.give(0, 40);
  EXPECT_EQ(map.take(30), 0U);
}

TEST_F(SegmentMapTest, gives_nothing_when_no_gap_is_large_enough) {
  (void)map.take(40);
  (void)map.take(20);
  (void)map.take(40);
  map.give(0, 40);
  map.give(60, 40);
  EXPECT_EQ(map.take(41), std::nullopt);
  EXPECT_EQ(map.take(40), 0U);
}

TEST_F(SegmentMapTest, joins_gaps_on_both_sides) {
  (void)map.take(30);
  (void)map.take(30);
  (void)map.take(40);
  map.give(0, 30);
  map.give(60, 40);
  map.give(30, 30);
  EXPECT_EQ(map.take(100), 0U);
}

}  // namespace
}  // namespace npu_sim::runtime
