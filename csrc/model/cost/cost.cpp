#include "model/cost/cost.h"

#include <type_traits>
#include <variant>

#include "model/cost/estimate.h"

namespace npu_sim::model {

Demand plan(const Work& work, const ChipSpec& chip) {
  return std::visit(
      [&chip](const auto& kind) {
        if constexpr (std::is_same_v<std::decay_t<decltype(kind)>, NoWork>) {
          return Demand{};
        } else {
          const Demand demand = estimate(kind, chip);
          return chip.fidelity == Fidelity::kRoofline ? roofline_of(demand, chip) : demand;
        }
      },
      work);
}

KernelTime cost(const Work& work, const ChipSpec& chip) {
  if (std::holds_alternative<NoWork>(work)) return {};
  const Demand demand = plan(work, chip);
  return settle(demand, alone(demand, chip), chip);
}

}  // namespace npu_sim::model
