#include "ops/indices.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sort.h>
#include <c10/util/Exception.h>

namespace npu_sim::ops {

void check_indices(ArgumentName name, const at::Tensor& indices, std::int64_t low,
                   std::int64_t high) {
  TORCH_CHECK_TYPE(indices.scalar_type() == at::kInt || indices.scalar_type() == at::kLong, name.op,
                   ": expected ", name.argument, " of int32 or int64, got ", indices.scalar_type());
  if (indices.is_meta() || indices.numel() == 0) return;
  const auto least = indices.min().item<std::int64_t>();
  const auto most = indices.max().item<std::int64_t>();
  TORCH_CHECK_INDEX(low <= least && most < high, name.op, ": expected ", name.argument, " from ",
                    low, " to ", high - 1, ", got ", least < low ? least : most);
}

at::Tensor stable_order(const at::Tensor& keys) {
  return std::get<1>(at::sort(keys, /*stable=*/true, /*dim=*/0, /*descending=*/false));
}

at::Tensor inverse_order(const at::Tensor& order) {
  return at::empty_like(order).scatter_(0, order, at::arange(order.numel(), order.options()));
}

}  // namespace npu_sim::ops
