// What the plans of the cube family chose, for explanations.
#pragma once

#include "model/cost/explain.h"

namespace npu_sim::model {

// Tile, waves and splits; empty where the cube does not multiply the formats or nothing is there.
[[nodiscard]] std::vector<Fact> cube_facts(const MatmulWork& work, const ChipSpec& chip);
[[nodiscard]] std::vector<Fact> cube_facts(const GroupedMatmulWork& work, const ChipSpec& chip);
[[nodiscard]] std::vector<Fact> cube_facts(const ConvolutionWork& work, const ChipSpec& chip);
[[nodiscard]] std::vector<Fact> cube_facts(const AttentionWork& work, const ChipSpec& chip);

}  // namespace npu_sim::model
