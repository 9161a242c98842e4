#include "model/cost/cost.h"

#include <type_traits>
#include <variant>

#include "model/cost/estimate.h"

namespace npu_sim::model {

KernelTime cost(const Work& work, const ChipSpec& chip) {
  return std::visit(
      [&chip](const auto& kind) {
        if constexpr (std::is_same_v<std::decay_t<decltype(kind)>, NoWork>) {
          return KernelTime{};
        } else {
          const Demand demand = estimate(kind, chip);
          return settle(demand, alone(demand, chip), chip);
        }
      },
      work);
}

}  // namespace npu_sim::model
