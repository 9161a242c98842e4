// Plans of works seen before, and the last time each was given.
#pragma once

#include "model/chip/chip_spec.h"
#include "model/cost/demand.h"
#include "model/cost/kernel_time.h"
#include "model/work/work.h"

namespace npu_sim::runtime {

class Plan {
 public:
  Plan() = default;
  Plan(const model::Work& work, const model::ChipSpec& chip);

  [[nodiscard]] bool is_of(const model::Work& work, const model::ChipSpec& chip) const {
    return chip_ == &chip && work_ == work;
  }
  [[nodiscard]] const model::Demand& demand() const { return demand_; }
  // model::settle with what L2 answered; remembers the last answer. Holds until the next call.
  [[nodiscard]] const model::KernelTime& time(const model::Residency& residency);

 private:
  model::Work work_;
  const model::ChipSpec* chip_ = nullptr;  // null: no plan
  model::Demand demand_;
  model::Residency residency_;
  model::KernelTime time_;
};

// model::plan of `work` on `chip`, memoized in a table of the calling thread. The chip is known by
// its address, so it must live as long as the process, as chip() and chip_of() do. The reference
// holds until the thread's next call.
[[nodiscard]] Plan& plan_of(const model::Work& work, const model::ChipSpec& chip);

}  // namespace npu_sim::runtime
