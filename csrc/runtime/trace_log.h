// What running traces have seen so far.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string_view>
#include <vector>

#include "runtime/timeline/task.h"
#include "runtime/trace.h"

namespace npu_sim::runtime {

// Thread-safe. Kernels are kept once however many traces run; a ticket is a kernel's number since
// the process started.
class TraceLog {
 public:
  [[nodiscard]] bool running() const { return running_.load(std::memory_order_relaxed) != 0; }

  std::int64_t start(base::SimTime now);
  // Notes a launched kernel; kUntraced when the last trace has just stopped.
  [[nodiscard]] Ticket add(const KernelRecord& record);
  void add(const MemoryRecord& record);
  void set_spans(const std::vector<TracedSpan>& spans);
  // What trace `id` saw; `preview` gives the times of kernels that have not ended.
  // Throws base::ValueError for an id that is not running.
  [[nodiscard]] TraceData stop(std::int64_t id, base::SimTime now,
                               const std::vector<TracedSpan>& preview);
  [[nodiscard]] std::mutex& mutex() { return mutex_; }  // for the fork handlers

 private:
  struct Start {
    base::SimTime at{};
    Ticket first_kernel = 0;
    std::size_t first_memory = 0;
  };

  void forget_if_idle();

  std::mutex mutex_;
  std::atomic<int> running_{0};
  std::int64_t next_id_ = 1;
  std::map<std::int64_t, Start> starts_;
  Ticket base_ = 0;  // ticket of kernels_[0]
  std::vector<KernelRecord> kernels_;
  std::vector<MemoryRecord> memory_;
};

}  // namespace npu_sim::runtime
