#include "model/memory/lru_ranges.h"

#include <algorithm>
#include <utility>

namespace npu_sim::model {
namespace {

// Neighbours of one kind become one range while it stays below this share of the capacity: small
// tensors then do not use up the ranges, and the order of use is blurred by no more than that.
constexpr std::uint64_t kJoinedShare = 2048;

}  // namespace

LruRanges::LruRanges(std::uint64_t capacity) : capacity_(capacity) {
  slots_.reserve(kMaxRanges + 4);
  order_.reserve(kMaxRanges + 4);
}

void LruRanges::next_turn() {
  ++turn_;
  old_dirty_ += std::exchange(own_dirty_, 0);
  own_evicted_ = 0;
  old_evicted_ = 0;
}

std::uint64_t LruRanges::read(AddressRange range) { return use(range, false); }

std::uint64_t LruRanges::write(AddressRange range) { return use(range, true); }

// Index of the first resident range that ends past `address`.
std::size_t LruRanges::first_past(std::uint64_t address) const {
  const auto after =
      std::upper_bound(order_.begin(), order_.end(), address,
                       [](std::uint64_t value, const Entry& entry) { return value < entry.begin; });
  auto at = static_cast<std::size_t>(after - order_.begin());
  if (at > 0 && slots_[order_[at - 1].slot].range.end > address) --at;
  return at;
}

std::uint64_t LruRanges::find(AddressRange range) const {
  std::uint64_t found = 0;
  for (std::size_t i = first_past(range.begin); i < order_.size(); ++i) {
    const AddressRange& held = slots_[order_[i].slot].range;
    if (held.begin >= range.end) break;
    found += std::min(held.end, range.end) - std::max(held.begin, range.begin);
  }
  return found;
}

std::uint64_t LruRanges::clear() {
  const std::uint64_t written_back = dirty();
  slots_.clear();
  free_.clear();
  order_.clear();
  oldest_ = newest_ = kNone;
  resident_ = old_dirty_ = own_dirty_ = 0;
  return written_back;
}

std::uint64_t LruRanges::use(AddressRange range, bool writes) {
  if (range.end <= range.begin) return 0;
  const std::size_t first = first_past(range.begin);
  if (first < order_.size()) {  // most uses meet a range that was used as a whole before
    const Slot slot = order_[first].slot;
    Resident& held = slots_[slot];
    if (held.range.begin == range.begin && held.range.end == range.end) {
      if (writes && held.written_in != turn_) {
        count_out(range.size(), held.written_in);
        held.written_in = turn_;
        count_in(range, turn_);
      }
      if (slot != newest_) {
        unlink(slot);
        link_newest(slot);
      }
      return range.size();
    }
  }
  const std::uint64_t hit = cut_out(first, range, writes);
  std::size_t at = first_past(range.begin);
  for (const Resident& piece : pieces_) {
    add(at, piece.range, piece.written_in);
    if (!join(at)) ++at;
  }
  if (at < order_.size()) join(at);
  shrink_to_fit();
  return hit;
}

// Takes `range` out of what is resident and leaves in pieces_ what shall be there instead: one
// dirty range for a write; for a read the dirty parts as they are, and clean ones between them.
std::uint64_t LruRanges::cut_out(std::size_t first, AddressRange range, bool writes) {
  pieces_.clear();
  std::uint64_t hit = 0;
  std::uint64_t clean_from = range.begin;
  const auto add_clean = [&](std::uint64_t until) {
    if (until > clean_from) pieces_.push_back({.range = {clean_from, until}});
  };
  std::size_t last = first;
  while (last < order_.size() && order_[last].begin < range.end) {
    const Slot slot = order_[last].slot;
    const AddressRange held = slots_[slot].range;
    const std::uint64_t written_in = slots_[slot].written_in;
    const AddressRange inside{std::max(held.begin, range.begin), std::min(held.end, range.end)};
    hit += inside.size();
    count_out(inside.size(), written_in);
    if (written_in != 0 && !writes) {
      add_clean(inside.begin);
      pieces_.push_back({.range = inside, .written_in = written_in});
      clean_from = inside.end;
    }
    if (held.begin < range.begin) {
      slots_[slot].range.end = range.begin;
      ++first;
      ++last;
      if (held.end > range.end) {  // the rest behind stays as old as it was
        const Slot rest = make({range.end, held.end}, written_in);
        link_after(slot, rest);
        order_.insert(order_.begin() + static_cast<std::ptrdiff_t>(last), {range.end, rest});
      }
    } else if (held.end > range.end) {
      slots_[slot].range.begin = order_[last].begin = range.end;
      break;
    } else {
      unlink(slot);
      release(slot);
      ++last;
    }
  }
  order_.erase(order_.begin() + static_cast<std::ptrdiff_t>(first),
               order_.begin() + static_cast<std::ptrdiff_t>(last));
  if (writes) {
    pieces_.push_back({.range = range, .written_in = turn_});
  } else {
    add_clean(range.end);
  }
  return hit;
}

void LruRanges::add(std::size_t at, AddressRange range, std::uint64_t written_in) {
  const Slot slot = make(range, written_in);
  link_newest(slot);
  count_in(range, written_in);
  order_.insert(order_.begin() + static_cast<std::ptrdiff_t>(at), {range.begin, slot});
}

// Both clean, or both dirty and written on the same side of the turn's start.
bool LruRanges::alike(const Resident& a, const Resident& b) const {
  if ((a.written_in == 0) != (b.written_in == 0)) return false;
  return (a.written_in == turn_) == (b.written_in == turn_);
}

// Joins range `at` to the one before it when they touch, are alike and small; true if it did.
bool LruRanges::join(std::size_t at) {
  if (at == 0) return false;
  const Slot before = order_[at - 1].slot;
  const Slot slot = order_[at].slot;
  const AddressRange& left = slots_[before].range;
  const AddressRange& right = slots_[slot].range;
  if (left.end != right.begin || !alike(slots_[before], slots_[slot])) return false;
  if (left.size() + right.size() > capacity_ / kJoinedShare) return false;
  slots_[before].range.end = right.end;
  unlink(slot);
  release(slot);
  order_.erase(order_.begin() + static_cast<std::ptrdiff_t>(at));
  if (before != newest_) {
    unlink(before);
    link_newest(before);
  }
  return true;
}

void LruRanges::shrink_to_fit() {
  while (resident_ > capacity_) trim_oldest(resident_ - capacity_);
  while (order_.size() > kMaxRanges) trim_oldest(slots_[oldest_].range.size());
}

// Pushes out up to `excess` bytes from the front of the range that was used longest ago.
void LruRanges::trim_oldest(std::uint64_t excess) {
  const Slot slot = oldest_;
  Resident& victim = slots_[slot];
  const std::uint64_t bytes = std::min(excess, victim.range.size());
  const std::size_t at = first_past(victim.range.begin);
  if (victim.written_in != 0) (victim.written_in == turn_ ? own_evicted_ : old_evicted_) += bytes;
  count_out(bytes, victim.written_in);
  if (bytes == victim.range.size()) {
    unlink(slot);
    release(slot);
    order_.erase(order_.begin() + static_cast<std::ptrdiff_t>(at));
  } else {
    victim.range.begin += bytes;
    order_[at].begin = victim.range.begin;
  }
}

LruRanges::Slot LruRanges::make(AddressRange range, std::uint64_t written_in) {
  if (free_.empty()) {
    slots_.push_back({.range = range, .written_in = written_in});
    return static_cast<Slot>(slots_.size() - 1);
  }
  const Slot slot = free_.back();
  free_.pop_back();
  slots_[slot] = {.range = range, .written_in = written_in};
  return slot;
}

void LruRanges::release(Slot slot) { free_.push_back(slot); }

void LruRanges::link_newest(Slot slot) {
  slots_[slot].older = newest_;
  slots_[slot].newer = kNone;
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = slot;
  newest_ = slot;
}

void LruRanges::link_after(Slot older, Slot slot) {
  const Slot newer = slots_[older].newer;
  slots_[slot].older = older;
  slots_[slot].newer = newer;
  slots_[older].newer = slot;
  (newer == kNone ? newest_ : slots_[newer].older) = slot;
}

void LruRanges::unlink(Slot slot) {
  const Slot older = slots_[slot].older;
  const Slot newer = slots_[slot].newer;
  (older == kNone ? oldest_ : slots_[older].newer) = newer;
  (newer == kNone ? newest_ : slots_[newer].older) = older;
}

std::uint64_t* LruRanges::dirty_count(std::uint64_t written_in) {
  if (written_in == 0) return nullptr;
  return written_in == turn_ ? &own_dirty_ : &old_dirty_;
}

void LruRanges::count_in(const AddressRange& range, std::uint64_t written_in) {
  resident_ += range.size();
  if (std::uint64_t* count = dirty_count(written_in)) *count += range.size();
}

void LruRanges::count_out(std::uint64_t bytes, std::uint64_t written_in) {
  resident_ -= bytes;
  if (std::uint64_t* count = dirty_count(written_in)) *count -= bytes;
}

}  // namespace npu_sim::model
