// Consecutive groups of rows, one an expert, as the list of an argument divides them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ops/integers.h"

namespace npu_sim::ops {

// What a list holds: where each group ends, or how many rows it has.
enum class GroupList : std::uint8_t { kEnds, kCounts };

struct RowGroups {
  std::int64_t count = 0;
  Integers ends;  // the row behind the last one of each group, in order; empty for a meta list

  [[nodiscard]] std::int64_t begin(std::int64_t group) const {
    return group == 0 ? 0 : ends[static_cast<std::size_t>(group) - 1];
  }
  [[nodiscard]] std::int64_t rows(std::int64_t group) const {
    return ends[static_cast<std::size_t>(group)] - begin(group);
  }
  [[nodiscard]] std::int64_t covered() const { return ends.empty() ? 0 : ends.back(); }
};

// The groups of `list`. Raises TypeError, as by `name`, unless it has int32 or int64, ValueError
// unless it has one axis, no group ends before it begins and none behind `rows`.
[[nodiscard]] RowGroups row_groups(ArgumentName name, const at::Tensor& list, GroupList kind,
                                   std::int64_t rows);

// The same, but rows that there are not are left out.
[[nodiscard]] RowGroups row_groups_within(ArgumentName name, const at::Tensor& list, GroupList kind,
                                          std::int64_t rows);

// Each row's vector of `vectors` [groups, ...] by its group: [rows, ...]; `beyond` for rows behind
// all groups.
[[nodiscard]] at::Tensor by_row(const at::Tensor& vectors, const RowGroups& groups,
                                std::int64_t rows, double beyond);

}  // namespace npu_sim::ops
