#include "model/cost/kernel_time.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace npu_sim::model {
namespace {

TEST(KernelTime, PipesHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kPipeCount; ++i) names.insert(name(static_cast<Pipe>(i)));
  EXPECT_EQ(names.size(), kPipeCount);
  EXPECT_EQ(name(Pipe::kCube), "cube");
  EXPECT_EQ(name(Pipe::kHibl), "hibl");
  EXPECT_EQ(name(Pipe::kHost), "host");
}

TEST(KernelTime, ABoundIsTheLaunchOrAPipe) {
  EXPECT_EQ(name(Bound{}), "launch");
  EXPECT_EQ(name(Bound{.launch = false, .pipe = Pipe::kVector}), "vector");
}

TEST(KernelTime, ProvenancesFollowTheEnum) {
  EXPECT_EQ(name(Provenance::kRoofline), "roofline");
  EXPECT_EQ(name(Provenance::kHostFallback), "host-fallback");
  EXPECT_EQ(name(Provenance::kUndescribed), "undescribed");
}

}  // namespace
}  // namespace npu_sim::model
