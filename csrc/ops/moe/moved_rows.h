// Works of kernels that sort the choices of experts and move rows to them.
#pragma once

#include "aten/describe/operands.h"
#include "model/work/work.h"

namespace npu_sim::ops {

struct MovedRows {
  const at::Tensor& table;  // where the rows lie
  std::int64_t items = 0;   // how many are read
  bool one_by_one = false;  // each row's place is read just before the row
  std::int64_t scalars = 0;
};

// `items` rows of `table`, to or from places that the call's integers say.
[[nodiscard]] model::Work moved_rows(const aten::Call& call, const MovedRows& moved);

// A full sort of all choices as one row of keys.
[[nodiscard]] model::Work sorted_choices(const at::Tensor& choices);

}  // namespace npu_sim::ops
