// Which addresses a cache holds: disjoint ranges in order of last use, clean or dirty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace npu_sim::model {

struct AddressRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  // one past the last byte

  [[nodiscard]] std::uint64_t size() const { return end - begin; }
  bool operator==(const AddressRange&) const = default;
};

// A fully associative cache of ranges. What was used longest ago leaves first, byte by byte, so the
// resident bytes never exceed the capacity. A use costs a binary search among at most kMaxRanges.
class LruRanges {
 public:
  // More ranges than this push out the oldest, however small: it bounds the time of a use.
  static constexpr std::size_t kMaxRanges = 1024;

  explicit LruRanges(std::uint64_t capacity);

  // Starts a new turn: dirty bytes are counted by whether they were written in the present one.
  void next_turn();

  // Uses a range; what was not resident comes in. Returns the bytes that were resident.
  std::uint64_t read(AddressRange range);
  std::uint64_t write(AddressRange range);
  // Resident bytes of a range; uses nothing.
  [[nodiscard]] std::uint64_t find(AddressRange range) const;

  // Drops everything; returns the dirty bytes that had to be written back.
  std::uint64_t clear();

  [[nodiscard]] std::uint64_t capacity() const { return capacity_; }
  [[nodiscard]] std::uint64_t resident() const { return resident_; }
  [[nodiscard]] std::uint64_t dirty() const { return old_dirty_ + own_dirty_; }
  [[nodiscard]] std::size_t ranges() const { return order_.size(); }
  // Dirty bytes written in this turn that are resident, and that were pushed out already.
  [[nodiscard]] std::uint64_t own_dirty() const { return own_dirty_; }
  [[nodiscard]] std::uint64_t own_evicted() const { return own_evicted_; }
  // Dirty bytes of earlier turns that were pushed out in this one.
  [[nodiscard]] std::uint64_t old_evicted() const { return old_evicted_; }

 private:
  using Slot = std::uint32_t;
  static constexpr Slot kNone = ~Slot{0};

  struct Resident {
    AddressRange range;
    std::uint64_t written_in = 0;  // turn of the last write; 0: clean
    Slot older = kNone;
    Slot newer = kNone;
  };
  struct Entry {  // of the index by address
    std::uint64_t begin;
    Slot slot;
  };

  [[nodiscard]] std::size_t first_past(std::uint64_t address) const;
  std::uint64_t use(AddressRange range, bool writes);
  std::uint64_t cut_out(std::size_t first, AddressRange range, bool writes);
  void add(std::size_t at, AddressRange range, std::uint64_t written_in);
  [[nodiscard]] bool alike(const Resident& a, const Resident& b) const;
  bool join(std::size_t at);
  void shrink_to_fit();
  void trim_oldest(std::uint64_t excess);

  Slot make(AddressRange range, std::uint64_t written_in);
  void release(Slot slot);
  void link_newest(Slot slot);
  void link_after(Slot older, Slot slot);
  void unlink(Slot slot);
  [[nodiscard]] std::uint64_t* dirty_count(std::uint64_t written_in);
  void count_in(const AddressRange& range, std::uint64_t written_in);
  void count_out(std::uint64_t bytes, std::uint64_t written_in);

  std::uint64_t capacity_;
  std::uint64_t turn_ = 1;
  std::uint64_t resident_ = 0;
  std::uint64_t old_dirty_ = 0;
  std::uint64_t own_dirty_ = 0;
  std::uint64_t own_evicted_ = 0;
  std::uint64_t old_evicted_ = 0;
  std::vector<Resident> slots_;
  std::vector<Slot> free_;
  std::vector<Entry> order_;      // by address
  std::vector<Resident> pieces_;  // scratch of use()
  Slot oldest_ = kNone;
  Slot newest_ = kNone;
};

}  // namespace npu_sim::model
