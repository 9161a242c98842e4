// Calls of operators that are timed on weak ground, by operator.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace npu_sim::runtime {

class OpCounter {
 public:
  // `op` must outlive the process, as LaunchSite::op does.
  void count(std::string_view op);
  [[nodiscard]] std::map<std::string, std::int64_t> counts() const;
  void reset();
  [[nodiscard]] std::mutex& mutex() const { return mutex_; }  // for the fork handlers

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string_view, std::int64_t> calls_;
};

}  // namespace npu_sim::runtime
