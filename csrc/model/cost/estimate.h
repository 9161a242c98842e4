// One estimator a kind of Work. A new kind without an overload here does not compile.
#pragma once

#include "model/cost/demand.h"

namespace npu_sim::model {

[[nodiscard]] Demand estimate(const VectorWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const MatmulWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const GroupedMatmulWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const ConvolutionWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const AttentionWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const RowWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const GatherWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const SortWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const CopyWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const HostWork& work, const ChipSpec& chip);
[[nodiscard]] Demand estimate(const UndescribedWork& work, const ChipSpec& chip);

}  // namespace npu_sim::model
