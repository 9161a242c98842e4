#include "model/cost/explain.h"

#include <type_traits>
#include <variant>

#include "model/cost/estimate.h"

namespace npu_sim::model {

Explanation explain(const Work& work, const ChipSpec& chip) {
  return std::visit(
      [&chip](const auto& kind) -> Explanation {
        if constexpr (std::is_same_v<std::decay_t<decltype(kind)>, NoWork>) {
          return {};
        } else {
          return {.demand = estimate(kind, chip), .facts = {}};
        }
      },
      work);
}

}  // namespace npu_sim::model
