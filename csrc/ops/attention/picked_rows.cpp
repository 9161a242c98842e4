#include "ops/attention/picked_rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>

#include "ops/attention/float_rows.h"

namespace npu_sim::ops {

flash::RowSource picked_rows(const at::Tensor& tensor, const Placement& placement,
                             std::int64_t sequence, std::int64_t head, const Integers& positions) {
  const at::Tensor rows = tensor.select(1, head);  // [batch or blocks, tokens, width]
  const TokenSpan& span = placement.spans[static_cast<std::size_t>(sequence)];
  Integers offsets;
  offsets.reserve(positions.size());
  const auto* const pages = placement.paged()
                                ? placement.pages.select(0, sequence).const_data_ptr<std::int64_t>()
                                : nullptr;
  for (const std::int64_t position : positions) {
    const std::int64_t outer = pages != nullptr ? pages[position / placement.page] : span.batch;
    const std::int64_t inner = pages != nullptr ? position % placement.page : span.first + position;
    offsets.push_back(outer * rows.stride(0) + inner * rows.stride(1));
  }
  return
      [rows, offsets = std::move(offsets)](std::int64_t first, std::int64_t count, float* scratch) {
        const auto* const base = static_cast<const std::byte*>(rows.const_data_ptr());
        const auto bytes = static_cast<std::int64_t>(rows.element_size());
        const std::int64_t width = rows.size(2);
        for (std::int64_t i = 0; i < count; ++i) {
          flash::widen(base + offsets[static_cast<std::size_t>(first + i)] * bytes,
                       rows.scalar_type(), width, scratch + i * width);
        }
        return flash::Rows{scratch, width};
      };
}

flash::Problem problem_of(const at::Tensor& query, const at::Tensor& out,
                          const PickedQueries& queries) {
  const auto place = [&](const at::Tensor& tensor) {
    return tensor.select(0, queries.batch)
        .select(0, queries.head)
        .narrow(0, queries.first, queries.count);
  };
  const at::Tensor from = place(query);
  const at::Tensor to = place(out);
  flash::Problem problem;
  problem.heads = queries.heads;
  problem.queries = queries.count;
  problem.query.push_back({.data = from.const_data_ptr(),
                           .dtype = from.scalar_type(),
                           .width = from.size(1),
                           .stride = from.stride(0)});
  problem.query_head_stride = query.stride(1);
  problem.value_width = to.size(1);
  problem.out = {.data = to.data_ptr(),
                 .dtype = to.scalar_type(),
                 .head_stride = out.stride(1),
                 .row_stride = to.stride(0)};
  return problem;
}

PickedGradients picked_gradients(const PickedOperands& on) {
  const at::Tensor weights = (at::matmul(on.query, on.key.t()) * on.scale - on.lse).exp_();
  const at::Tensor delta = (on.grad * on.out).sum(-1, /*keepdim=*/true);
  const at::Tensor scores = weights * (at::matmul(on.grad, on.value.t()) - delta) * on.scale;
  return {.query = at::matmul(scores, on.key),
          .key = at::matmul(scores.t(), on.query),
          .value = at::matmul(weights.t(), on.grad)};
}

}  // namespace npu_sim::ops
