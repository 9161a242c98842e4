#include "runtime/op_counters.h"

#include "runtime/device_table.h"
#include "runtime/trace.h"

namespace npu_sim::runtime {

void OpCounter::count(std::string_view op) {
  const std::lock_guard lock(mutex_);
  ++calls_[op];
}

std::map<std::string, std::int64_t> OpCounter::counts() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::int64_t> result;
  for (const auto& [op, calls] : calls_) result.emplace(op, calls);
  return result;
}

void OpCounter::reset() {
  const std::lock_guard lock(mutex_);
  calls_.clear();
}

std::map<std::string, std::int64_t> undescribed_ops() {
  return device_table().undescribed.counts();
}

std::map<std::string, std::int64_t> fallback_ops() { return device_table().fallbacks.counts(); }

}  // namespace npu_sim::runtime
