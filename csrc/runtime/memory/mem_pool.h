// Private pools: segments that serve only allocations made while the pool is in use.
//
// As torch.cuda.MemPool: blocks of different pools never mix, emptying the cache leaves a pool's
// free blocks alone, and when the pool is released its segments go back as soon as they are free.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "runtime/memory/foreign_memory.h"

namespace npu_sim::runtime {

struct MemPoolOptions {
  bool use_on_oom = false;  // its free blocks serve other allocations before they fail
  bool no_split = false;    // a segment serves one allocation at a time
  std::optional<ForeignFunctions> functions = {};  // its memory comes from these, uncached
};

[[nodiscard]] MemPoolId create_mem_pool(const MemPoolOptions& options);
void release_mem_pool(MemPoolId pool);

// From now on the calling thread's allocations on the device come from the pool; returns the pool
// that was in use. Every begin needs its end, which puts the previous pool back.
// Throws base::ValueError when the pool was never created or is released.
[[nodiscard]] MemPoolId begin_mem_pool(int device, MemPoolId pool);
void end_mem_pool(int device, MemPoolId pool, MemPoolId previous);
[[nodiscard]] MemPoolId current_mem_pool(int device) noexcept;
// 1 for its owner, and 1 for each use that has begun and not ended; 0 when it was released.
[[nodiscard]] int mem_pool_uses(MemPoolId pool);

// Which pools there are; part of the device table.
class MemPoolRegistry {
 public:
  // Whether a pool was ever created: until then every thread uses the default one.
  [[nodiscard]] bool any() const { return any_.load(std::memory_order_acquire); }
  [[nodiscard]] MemPoolId create(const MemPoolOptions& options);
  void begin(MemPoolId pool);
  // Ends one use; true when nobody uses the pool any more.
  [[nodiscard]] bool end(MemPoolId pool);
  [[nodiscard]] int uses(MemPoolId pool);
  [[nodiscard]] std::optional<ForeignFunctions> functions_of(MemPoolId pool);
  [[nodiscard]] std::mutex& mutex() { return mutex_; }  // for the fork handlers

 private:
  struct Entry {
    MemPoolOptions options;
    int uses = 1;
  };

  std::mutex mutex_;
  std::atomic<bool> any_{false};
  MemPoolId next_ = kDefaultPool + 1;
  std::map<MemPoolId, Entry> pools_;
};

}  // namespace npu_sim::runtime
