// Why a kernel takes its time: its plan, and what the plan chose. For people, not for launches.
#pragma once

#include <string>
#include <vector>

#include "model/chip/chip_spec.h"
#include "model/cost/demand.h"
#include "model/work/work.h"

namespace npu_sim::model {

// One choice or count of the plan: {"tile_m", 256, "rows"}.
struct Fact {
  std::string name;
  double value = 0;
  std::string unit;
};

struct Explanation {
  Demand demand;
  std::vector<Fact> facts;  // of the kinds that are planned by tiles; else empty
};

// Pure, as cost(); NoWork has an empty explanation.
[[nodiscard]] Explanation explain(const Work& work, const ChipSpec& chip);

}  // namespace npu_sim::model
