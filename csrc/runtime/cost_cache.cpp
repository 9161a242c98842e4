#include "runtime/cost_cache.h"

#include <vector>

#include "model/cost/cost.h"
#include "model/work/hash.h"

namespace npu_sim::runtime {
namespace {

// A model's working set is a few hundred different works; each entry takes about 350 bytes.
constexpr std::size_t kEntries = 2048;
static_assert((kEntries & (kEntries - 1)) == 0);

struct Entry {
  model::Work work;
  model::KernelTime time;
  const model::ChipSpec* chip = nullptr;  // null: the entry is empty
};

// Direct mapped: a collision costs one call of the model, which is pure, so answers never differ.
std::vector<Entry>& entries() {
  thread_local std::vector<Entry> table(kEntries);
  return table;
}

}  // namespace

const model::KernelTime& cost_of(const model::Work& work, const model::ChipSpec& chip) {
  Entry& entry = entries()[model::WorkHash{}(work) & (kEntries - 1)];
  if (entry.chip != &chip || entry.work != work) entry = {work, model::cost(work, chip), &chip};
  return entry.time;
}

}  // namespace npu_sim::runtime
