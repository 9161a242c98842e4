#include "runtime/plan_cache.h"

#include <vector>

#include "model/cost/cost.h"
#include "model/work/hash.h"

namespace npu_sim::runtime {
namespace {

// A model's working set is a few hundred different works; each entry takes about 600 bytes.
constexpr std::size_t kEntries = 2048;
static_assert((kEntries & (kEntries - 1)) == 0);

// Direct mapped: a collision costs one call of the model, which is pure, so answers never differ.
std::vector<Plan>& entries() {
  thread_local std::vector<Plan> table(kEntries);
  return table;
}

}  // namespace

Plan::Plan(const model::Work& work, const model::ChipSpec& chip)
    : work_(work),
      chip_(&chip),
      demand_(model::plan(work, chip)),
      residency_(model::alone(demand_, chip)),
      time_(model::settle(demand_, residency_, chip)) {}

const model::KernelTime& Plan::time(const model::Residency& residency) {
  if (residency != residency_) {
    time_ = model::settle(demand_, residency, *chip_);
    residency_ = residency;
  }
  return time_;
}

Plan& plan_of(const model::Work& work, const model::ChipSpec& chip) {
  Plan& entry = entries()[model::WorkHash{}(work) & (kEntries - 1)];
  if (!entry.is_of(work, chip)) entry = Plan(work, chip);
  return entry;
}

}  // namespace npu_sim::runtime
