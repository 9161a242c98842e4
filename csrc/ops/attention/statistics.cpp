#include "ops/attention/statistics.h"

#include <ATen/ops/cat.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <vector>

#include "ops/attention/layout.h"

namespace npu_sim::ops {

Integers checked_lengths(ArgumentName name, const Integers& sums, std::int64_t tokens) {
  Integers lengths = lengths_from_sums(sums);
  TORCH_CHECK_VALUE(!sums.empty() && std::ranges::all_of(lengths, [](auto n) { return n >= 0; }) &&
                        *std::ranges::max_element(sums) <= tokens,
                    name.op, ": expected ", name.argument, " of running sums that do not fall and ",
                    "end at ", tokens, " tokens or before, got ", at::IntArrayRef(sums));
  return lengths;
}

at::Tensor statistics_by_token(const at::Tensor& rows, const Integers& lengths) {
  const std::int64_t heads = rows.size(1);
  const at::Tensor flat = rows.reshape({-1});
  std::vector<at::Tensor> parts;
  std::int64_t first = 0;
  for (const std::int64_t length : lengths) {
    parts.push_back(
        flat.narrow(0, first * heads, length * heads).view({heads, length}).transpose(0, 1));
    first += length;
  }
  parts.push_back(rows.narrow(0, first, rows.size(0) - first));
  return at::cat(parts);
}

}  // namespace npu_sim::ops
