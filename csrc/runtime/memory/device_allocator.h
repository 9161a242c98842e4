// The caching allocator of one device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/memory/block_pool.h"
#include "runtime/memory/caching_allocator.h"
#include "runtime/memory/mem_pool.h"
#include "runtime/memory/segment_map.h"
#include "runtime/timeline/timeline.h"

namespace npu_sim::runtime {

class AddressSpace;

// Every public function locks the allocator, but those named otherwise.
class DeviceAllocator {
 public:
  DeviceAllocator(int device, AddressSpace& addresses);
  ~DeviceAllocator();

  [[nodiscard]] void* allocate(std::int32_t stream, MemPoolId mem_pool, std::size_t bytes);
  void deallocate(void* pointer);
  void record_stream(void* pointer, StreamId stream);
  [[nodiscard]] std::size_t allocated_size(const void* pointer);

  void add_mem_pool(MemPoolId pool, const MemPoolOptions& options);
  // No allocation asks for the pool any more: its segments go back once they are free.
  void retire_mem_pool(MemPoolId pool);
  [[nodiscard]] bool opened();  // whether it has ever allocated, since the chip was set

  void empty_cache();
  [[nodiscard]] MemoryStats stats();
  void reset_peak_stats();
  void raise_peaks();  // at the end of a PeakDeferral in which this device allocated
  void reset_accumulated_stats();
  [[nodiscard]] MemoryInfo info();
  void set_fraction(double fraction);
  [[nodiscard]] double fraction();
  [[nodiscard]] std::vector<SegmentSnapshot> snapshot();
  void set_history(std::size_t max_entries);
  [[nodiscard]] std::vector<MemoryTraceEntry> history();

  [[nodiscard]] int device() const { return device_; }
  [[nodiscard]] std::mutex& mutex() { return mutex_; }
  // The caller holds mutex().
  [[nodiscard]] bool empty() const;
  // The caller holds mutex(). Forgets every segment; nothing may be allocated.
  void reset();

 private:
  struct Pools {
    std::array<BlockPool, 2> of_kind;  // small, large

    [[nodiscard]] BlockPool& of(PoolKind kind) { return of_kind[kind == PoolKind::kSmall ? 0 : 1]; }
  };
  using PoolsOfStreams = std::vector<std::unique_ptr<Pools>>;  // by stream index
  struct MemPool {
    MemPoolOptions options;
    bool retired = false;
    PoolsOfStreams pools;
  };
  // Where a segment belongs; its blocks never serve another place.
  struct Place {
    std::int32_t stream = 0;
    PoolKind kind = PoolKind::kSmall;
    MemPoolId mem_pool = kDefaultPool;
  };
  // A freed block and the points that other streams must have passed before it is free.
  struct Lent {
    Block* block = nullptr;
    std::vector<PointPtr> points;
  };

  void open(std::size_t memory_bytes);
  [[nodiscard]] static Place place_of(const Block& block) {
    return {block.stream, block.pool, block.mem_pool};
  }
  [[nodiscard]] BlockPool& pool_of(const Place& place) {
    const auto stream = static_cast<std::size_t>(place.stream);
    if (place.mem_pool == kDefaultPool && pools_[stream]) return pools_[stream]->of(place.kind);
    return add_pool(place);
  }
  [[nodiscard]] BlockPool& add_pool(const Place& place);
  [[nodiscard]] Block* find_free(const Place& place, std::size_t size);
  [[nodiscard]] Block* find_spare(const Place& place, std::size_t size);
  [[nodiscard]] Block* add_segment(const Place& place, std::size_t size);
  [[nodiscard]] Block* make_room(const Place& place, std::size_t size);
  void hand_out(Block* block, std::size_t size, std::size_t requested);
  [[nodiscard]] bool worth_splitting(const Block& block, std::size_t size) const;
  void split(Block* block, std::size_t size);
  void give_back(Block* block);
  std::size_t join(Block* block, Block* neighbour);
  void lend(Block* block);
  void collect_lent();
  void wait_for_lent();
  void release_segment(Block* block);
  void release_cached();
  void release_if_retired(Block* block);
  void collect_garbage(std::size_t needed);
  void note_free_pages(Block* block);
  [[nodiscard]] Block* new_block();
  void delete_block(Block* block);
  [[nodiscard]] Block*& block_at(const void* address);
  [[nodiscard]] std::size_t allowed_bytes() const;
  [[nodiscard]] std::string out_of_memory_message(std::size_t size) const;
  void note(MemoryTraceEntry::Action action, const void* address, std::size_t size,
            std::int32_t stream);
  void trace_memory() const;

  const int device_;
  AddressSpace& addresses_;
  std::mutex mutex_;
  std::byte* begin_ = nullptr;  // nullptr until first use
  std::size_t capacity_ = 0;
  Block** starts_ = nullptr;  // block that starts at each kBlockBytes; pages come when touched
  SegmentMap free_ranges_;
  std::map<std::byte*, Block*> segments_;  // first block of each
  PoolsOfStreams pools_;                   // of the default pool
  std::map<MemPoolId, MemPool> mem_pools_;
  std::deque<Block> block_store_;
  std::vector<Block*> spare_blocks_;
  std::unordered_map<Block*, std::vector<StreamId>> lent_to_;
  std::deque<Lent> lent_;
  std::size_t touched_free_ = 0;  // bytes of free large blocks whose pages may be committed
  std::int64_t segment_count_ = 0;
  double fraction_ = 1.0;
  MemoryStats stats_;
  std::size_t max_history_ = 0;
  std::deque<MemoryTraceEntry> history_;
};

}  // namespace npu_sim::runtime
