#include "runtime/memory/segment_map.h"

#include <iterator>

namespace npu_sim::runtime {

void SegmentMap::reset(std::size_t capacity) { gaps_ = {{0, capacity}}; }

std::optional<std::size_t> SegmentMap::take(std::size_t size) {
  for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
    const auto [offset, room] = *gap;
    if (room < size) continue;
    gaps_.erase(gap);
    if (room > size) gaps_.emplace(offset + size, room - size);
    return offset;
  }
  return std::nullopt;
}

void SegmentMap::give(std::size_t offset, std::size_t size) {
  const auto next = gaps_.lower_bound(offset);
  if (next != gaps_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      offset = previous->first;
      size += previous->second;
      gaps_.erase(previous);
    }
  }
  if (next != gaps_.end() && offset + size == next->first) {
    size += next->second;
    gaps_.erase(next);
  }
  gaps_.emplace(offset, size);
}

}  // namespace npu_sim::runtime
