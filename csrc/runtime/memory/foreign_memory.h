// Memory of a card that a user's own functions give and take back: torch's pluggable allocators.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "runtime/memory/caching_allocator.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {

// The stream is its handle: the index that torch.npu.Stream.npu_stream shows.
struct ForeignFunctions {
  using Allocate = void* (*)(ssize_t size, int device, void* stream);
  using Free = void (*)(void* pointer, ssize_t size, int device, void* stream);

  Allocate allocate = nullptr;
  Free free = nullptr;
};

// Every allocation of the process comes from the functions from now on.
// Throws base::Error when memory has been allocated already.
void use_foreign_memory(const ForeignFunctions& functions);
[[nodiscard]] bool uses_foreign_memory();

// What the functions have given and not got back; part of the device table. Thread-safe; no lock is
// held while a function runs.
class ForeignMemory {
 public:
  // Whether any function was ever asked: until then no pointer is foreign.
  [[nodiscard]] bool any() const { return any_.load(std::memory_order_acquire); }
  void use_for_all(const ForeignFunctions& functions);
  [[nodiscard]] std::optional<ForeignFunctions> for_all();

  // Throws base::OutOfMemoryError when the function returns null.
  [[nodiscard]] void* allocate(const ForeignFunctions& functions, StreamId stream,
                               std::size_t bytes);
  // False when the pointer is not the start of a block.
  bool deallocate(void* pointer);
  // The device of the block that holds the pointer, or -1.
  [[nodiscard]] int device_of(const void* pointer);
  // Bytes of the block that the pointer starts, 0 if it starts none.
  [[nodiscard]] std::size_t size_of(const void* pointer);
  // Allocations and bytes, without the quantities that only a cache has.
  [[nodiscard]] MemoryStats stats(int device);
  [[nodiscard]] std::mutex& mutex() { return mutex_; }  // for the fork handlers

 private:
  struct Block {
    std::size_t size = 0;
    StreamId stream{};
    ForeignFunctions functions;
  };
  using Blocks = std::map<std::uintptr_t, Block>;

  [[nodiscard]] Blocks::iterator holder_of(const void* pointer);
  void count(const Block& block, std::int64_t sign);

  std::mutex mutex_;
  std::atomic<bool> any_{false};
  std::optional<ForeignFunctions> for_all_;
  Blocks blocks_;
  std::map<int, MemoryStats> stats_;
};

}  // namespace npu_sim::runtime
