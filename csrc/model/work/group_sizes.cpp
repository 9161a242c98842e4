#include "model/work/group_sizes.h"

#include <algorithm>
#include <array>
#include <functional>

namespace npu_sim::model {
namespace {

std::vector<Alike> counted(std::vector<std::int64_t> rows) {
  std::ranges::sort(rows, std::ranges::greater());
  std::vector<Alike> alike;
  for (const std::int64_t each : rows) {
    if (alike.empty() || alike.back().rows != each) alike.push_back({each, 0});
    ++alike.back().groups;
  }
  return alike;
}

}  // namespace

GroupSizes::GroupSizes(std::vector<std::int64_t> rows) : GroupSizes(counted(std::move(rows))) {}

GroupSizes GroupSizes::even(std::int64_t groups, std::int64_t rows) {
  if (groups <= 0 || rows <= 0) return {};
  const std::int64_t longer = rows % groups;
  return GroupSizes(
      std::array{Alike{rows / groups + 1, longer}, Alike{rows / groups, groups - longer}});
}

GroupSizes::GroupSizes(std::span<const Alike> alike) {
  Bag bag;
  double rows = 0;
  for (const Alike& each : alike) {
    if (each.rows <= 0 || each.groups <= 0) continue;
    bag.alike.push_back(each);
    bag.groups += each.groups;
    rows += static_cast<double>(each.rows) * static_cast<double>(each.groups);
    constexpr std::size_t kPrime = 0x100000001B3;  // of FNV-1a
    for (const std::int64_t number : {each.rows, each.groups}) {
      bag.hash = (bag.hash ^ static_cast<std::size_t>(number)) * kPrime;
    }
  }
  constexpr double kMostRows = 0x1p62;
  bag.rows = static_cast<std::int64_t>(std::min(rows, kMostRows));
  if (bag.groups > 0) bag_ = std::make_shared<const Bag>(std::move(bag));
}

std::span<const Alike> GroupSizes::alike() const {
  return empty() ? std::span<const Alike>() : std::span<const Alike>(bag_->alike);
}

std::int64_t GroupSizes::groups() const { return empty() ? 0 : bag_->groups; }

std::int64_t GroupSizes::rows() const { return empty() ? 0 : bag_->rows; }

std::size_t GroupSizes::hash() const { return empty() ? 0 : bag_->hash; }

bool GroupSizes::operator==(const GroupSizes& other) const {
  if (bag_ == other.bag_) return true;
  return hash() == other.hash() && std::ranges::equal(alike(), other.alike());
}

}  // namespace npu_sim::model
