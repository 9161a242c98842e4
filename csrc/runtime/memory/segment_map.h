// Which parts of a device's range no segment uses.
#pragma once

#include <cstddef>
#include <map>
#include <optional>

namespace npu_sim::runtime {

// Offsets in bytes. First fit, so that the same program gets the same addresses in every run.
class SegmentMap {
 public:
  void reset(std::size_t capacity);
  // The lowest place for `size` bytes, now taken; nothing when no gap is large enough.
  [[nodiscard]] std::optional<std::size_t> take(std::size_t size);
  void give(std::size_t offset, std::size_t size);

 private:
  std::map<std::size_t, std::size_t> gaps_;  // offset -> size; neighbours are always joined
};

}  // namespace npu_sim::runtime
