#include "ops/quant/groups.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace npu_sim::ops {

RowGroups row_groups(ArgumentName name, const at::Tensor& list, GroupList kind, std::int64_t rows) {
  TORCH_CHECK_VALUE(list.dim() == 1, name.op, ": expected ", name.argument, " of one axis, got ",
                    list.sizes());
  TORCH_CHECK_TYPE(list.scalar_type() == at::kInt || list.scalar_type() == at::kLong, name.op,
                   ": expected ", name.argument, " of int32 or int64, got ", list.scalar_type());
  RowGroups groups{.count = list.size(0), .ends = {}};
  if (list.is_meta()) return groups;
  groups.ends = integers_in(list);
  if (kind == GroupList::kCounts) {
    std::partial_sum(groups.ends.begin(), groups.ends.end(), groups.ends.begin());
  }
  for (std::int64_t group = 0; group < groups.count; ++group) {
    TORCH_CHECK_VALUE(groups.rows(group) >= 0, name.op, ": expected ", name.argument,
                      " that ends no group before it begins, got ", integers_in(list));
  }
  TORCH_CHECK_VALUE(groups.covered() <= rows, name.op, ": expected ", name.argument, " of at most ",
                    rows, " rows, got ", groups.covered());
  return groups;
}

RowGroups row_groups_within(ArgumentName name, const at::Tensor& list, GroupList kind,
                            std::int64_t rows) {
  RowGroups groups = row_groups(name, list, kind, std::numeric_limits<std::int64_t>::max());
  for (std::int64_t& end : groups.ends) end = std::min(end, rows);
  return groups;
}

at::Tensor by_row(const at::Tensor& vectors, const RowGroups& groups, std::int64_t rows,
                  double beyond) {
  std::vector<std::int64_t> sizes = vectors.sizes().vec();
  if (vectors.is_meta()) {
    sizes.front() = rows;
    return at::empty(sizes, vectors.options());
  }
  sizes.front() = 1;
  const at::Tensor all = at::cat({vectors, at::full(sizes, beyond, vectors.options())});
  Integers repeats;
  for (std::int64_t group = 0; group < groups.count; ++group) repeats.push_back(groups.rows(group));
  repeats.push_back(rows - groups.covered());
  return all.repeat_interleave(at::tensor(repeats, at::kLong), 0, rows);
}

}  // namespace npu_sim::ops
