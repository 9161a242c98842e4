// Blocks of device memory and the free ones of one stream, found by size.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>

#include "runtime/memory/caching_allocator.h"

namespace npu_sim::runtime {

inline constexpr std::size_t kBlockBytes = 512;      // every size is a multiple
inline constexpr std::size_t kSmallBytes = 1 << 20;  // at most: small pool
inline constexpr std::size_t kSmallSegment = 2 << 20;
inline constexpr std::size_t kLargeSegment = 20 << 20;   // for requests below kMinOwnSegment
inline constexpr std::size_t kMinOwnSegment = 10 << 20;  // from here a segment fits its request
inline constexpr std::size_t kSegmentRounding = 2 << 20;

// A piece of a segment. Neighbours are linked, so that free ones can be joined.
struct Block {
  std::byte* address = nullptr;
  std::size_t size = 0;
  std::size_t requested = 0;
  std::int32_t stream = 0;  // index of the stream that owns the segment
  PoolKind pool = PoolKind::kSmall;
  MemPoolId mem_pool = kDefaultPool;
  bool allocated = false;
  bool active = false;        // allocated, or freed while another stream still uses it
  bool touched = false;       // its host pages may be committed
  bool lent = false;          // record_stream() was called since it was allocated
  std::int64_t freed_at = 0;  // count of segment allocations when it became free
  Block* previous = nullptr;  // in the segment
  Block* next = nullptr;
  Block* list_previous = nullptr;  // in the pool's list of equal sizes
  Block* list_next = nullptr;

  [[nodiscard]] bool split() const { return previous || next; }
};

// Free blocks of one pool of one stream. Sizes to kSmallSegment are found in constant time
// through a bitmap of lists; larger ones in a set ordered by size and address.
class BlockPool {
 public:
  void insert(Block* block);
  void erase(Block* block);
  // The smallest block of at least `size` bytes, or nullptr. Among equals the most recently freed
  // (listed sizes) or the lowest address.
  [[nodiscard]] Block* find(std::size_t size) const;

 private:
  static constexpr std::size_t kBins = kSmallSegment / kBlockBytes;
  static constexpr std::size_t kWordBits = 64;

  struct BySizeThenAddress {
    bool operator()(const Block* a, const Block* b) const {
      return a->size != b->size ? a->size < b->size : a->address < b->address;
    }
  };

  static std::size_t bin_of(std::size_t size) { return size / kBlockBytes - 1; }

  std::array<Block*, kBins> bins_{};
  std::array<std::uint64_t, kBins / kWordBits> filled_{};  // a bit a bin
  std::uint64_t filled_words_ = 0;                         // a bit a word of filled_
  std::set<Block*, BySizeThenAddress> large_;
};

}  // namespace npu_sim::runtime
