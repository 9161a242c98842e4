// How many rows each group of a grouped product has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace npu_sim::model {

// Groups of equal size.
struct Alike {
  std::int64_t rows = 0;    // of each
  std::int64_t groups = 0;  // so many

  bool operator==(const Alike&) const = default;
};

// An immutable bag of sizes, cheap to copy. Groups without rows are left out, for they cost
// nothing.
class GroupSizes {
 public:
  GroupSizes() = default;                               // no rows
  explicit GroupSizes(std::vector<std::int64_t> rows);  // of every group, in any order

  // `rows` spread over `groups` as evenly as whole rows allow.
  [[nodiscard]] static GroupSizes even(std::int64_t groups, std::int64_t rows);

  [[nodiscard]] std::span<const Alike> alike() const;  // largest groups first
  [[nodiscard]] std::int64_t groups() const;
  [[nodiscard]] std::int64_t rows() const;  // of all groups; at most 2^62
  [[nodiscard]] bool empty() const { return bag_ == nullptr; }
  [[nodiscard]] std::size_t hash() const;

  bool operator==(const GroupSizes& other) const;

 private:
  struct Bag {
    std::vector<Alike> alike;
    std::int64_t groups = 0;
    std::int64_t rows = 0;
    std::size_t hash = 0;
  };

  explicit GroupSizes(std::span<const Alike> alike);

  std::shared_ptr<const Bag> bag_;
};

}  // namespace npu_sim::model
