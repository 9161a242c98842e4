// Explanations: the plan that cost() settles, for every kind of Work.
#include "model/cost/explain.h"

#include <gtest/gtest.h>

#include "model/chip/chip_spec.h"
#include "model/cost/cost.h"
#include "sample_works.h"

namespace npu_sim::model {
namespace {

TEST(Explain, PlanSettlesToTheCost) {
  const ChipSpec chip = preset("ascend950pr");
  for (const Work& work : sample_works()) {
    if (std::holds_alternative<NoWork>(work)) continue;
    const Demand demand = explain(work, chip).demand;
    EXPECT_EQ(settle(demand, alone(demand, chip), chip).duration, cost(work, chip).duration);
  }
}

TEST(Explain, AMatmulNamesItsTile) {
  const MatmulWork work{.m = 4096, .n = 4096, .k = 4096, .a = Format::kBf16, .b = Format::kBf16};
  const Explanation explanation = explain(work, preset("ascend950pr"));
  ASSERT_FALSE(explanation.facts.empty());
  EXPECT_EQ(explanation.facts[0].name, "tile_m");
  EXPECT_EQ(explanation.facts[0].value, 256);
}

TEST(Explain, NoWorkDemandsNothing) {
  const Explanation explanation = explain(NoWork{}, preset("ascend950pr"));
  EXPECT_EQ(explanation.demand.read_bytes, 0);
  EXPECT_TRUE(explanation.facts.empty());
}

}  // namespace
}  // namespace npu_sim::model
