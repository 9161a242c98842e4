#include "model/cost/explain.h"

#include <type_traits>
#include <variant>

#include "model/cost/cube_facts.h"
#include "model/cost/estimate.h"

namespace npu_sim::model {

Explanation explain(const Work& work, const ChipSpec& chip) {
  return std::visit(
      [&chip](const auto& kind) -> Explanation {
        if constexpr (std::is_same_v<std::decay_t<decltype(kind)>, NoWork>) {
          return {};
        } else {
          Explanation explanation{.demand = estimate(kind, chip), .facts = {}};
          if constexpr (requires { cube_facts(kind, chip); }) {
            explanation.facts = cube_facts(kind, chip);
          }
          return explanation;
        }
      },
      work);
}

}  // namespace npu_sim::model
