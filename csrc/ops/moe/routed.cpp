#include "ops/moe/routed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <vector>

#include "ops/indices.h"

namespace npu_sim::ops {

void check_choices(const char* op, const at::Tensor& x, const at::Tensor& expert_idx) {
  TORCH_CHECK_VALUE(x.dim() == 2, op, ": expected x of [tokens, hidden], got ", x.sizes());
  TORCH_CHECK_VALUE(expert_idx.dim() == 2 && expert_idx.size(0) == x.size(0), op,
                    ": expected expert_idx of [", x.size(0), ", k], got ", expert_idx.sizes());
  TORCH_CHECK_TYPE(expert_idx.scalar_type() == at::kInt, op, ": expected expert_idx of int32, got ",
                   expert_idx.scalar_type());
}

ExpertRange active_range(const char* op, at::IntArrayRef range, std::int64_t expert_num) {
  if (range.empty()) return {0, expert_num};
  TORCH_CHECK_VALUE(
      range.size() == 2 && range[0] >= 0 && range[0] < range[1] && range[1] <= expert_num, op,
      ": expected active_expert_range of two increasing numbers from 0 to expert_num ", expert_num,
      ", got ", range);
  return {range[0], range[1]};
}

Routed dropless(const at::Tensor& experts, ExpertRange range, std::int64_t rows, bool scatters) {
  const at::Tensor own = (experts >= range.first) & (experts < range.last);
  const at::Tensor order = stable_order(at::where(own, experts, range.last));
  const at::Tensor served = own.index_select(0, order);
  const at::Tensor source = at::where(served, order, -1);
  if (scatters) return {source.narrow(0, 0, rows), source.to(at::kInt)};
  const at::Tensor places = at::where(own, inverse_order(order), -1);
  return {source.narrow(0, 0, rows), places.to(at::kInt)};
}

Routed padded(const at::Tensor& experts, std::int64_t expert_num, std::int64_t capacity) {
  const at::Tensor order = stable_order(experts);
  const at::Tensor sorted = experts.index_select(0, order).to(at::kLong);
  const at::Tensor ranks =
      at::arange(sorted.numel(), sorted.options()) - at::searchsorted(sorted, sorted);
  const at::Tensor kept = ranks < capacity;
  const std::int64_t all = expert_num * capacity;
  const at::Tensor place = at::where(kept, sorted * capacity + ranks, all);
  at::Tensor source = at::full({all + 1}, -1, sorted.options());
  source = source.scatter(0, place, order).narrow(0, 0, all);
  at::Tensor row_idx = at::full({sorted.numel()}, -1, sorted.options());
  row_idx = row_idx.scatter(0, order, at::where(kept, place, -1));
  return {source, row_idx.to(at::kInt)};
}

at::Tensor expanded(const at::Tensor& x, const at::Tensor& source, std::int64_t k) {
  if (x.is_floating_point() && x.element_size() == 1) {  // ATen picks among bytes, not among fp8
    return expanded(x.view(at::kByte), source, k).view(x.scalar_type());
  }
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.front() = source.numel();
  if (x.size(0) == 0) return at::zeros(sizes, x.options());
  const at::Tensor token = source.clamp_min(0).floor_divide(std::max<std::int64_t>(k, 1));
  const at::Tensor rows = x.index_select(0, token);
  const at::Tensor there = source >= 0;
  if (!x.is_meta() && there.all().item<bool>()) return rows;
  std::vector<std::int64_t> each(sizes.size(), 1);
  each.front() = source.numel();
  return at::where(there.view(each), rows, at::zeros({}, x.options()));
}

at::Tensor expert_tokens(const at::Tensor& experts, ExpertRange range, TokenCount type,
                         std::int64_t expert_num) {
  const std::int64_t length = range.last - range.first;
  if (experts.is_meta()) {
    const std::vector<std::int64_t> shape = type == TokenCount::kPairs
                                                ? std::vector<std::int64_t>{expert_num, 2}
                                                : std::vector<std::int64_t>{length};
    return at::empty(shape, experts.options().dtype(at::kLong));
  }
  const at::Tensor own = experts.masked_select((experts >= range.first) & (experts < range.last));
  const at::Tensor counts = at::bincount(own.to(at::kLong) - range.first, {}, length);
  if (type == TokenCount::kSums) return counts.cumsum(0);
  if (type == TokenCount::kCounts) return counts;
  const at::Tensor busy = counts.nonzero().squeeze(1);
  at::Tensor pairs = at::zeros({expert_num, 2}, counts.options());
  pairs.narrow(0, 0, busy.numel())
      .copy_(at::stack({busy + range.first, counts.index_select(0, busy)}, 1));
  return pairs;
}

}  // namespace npu_sim::ops
