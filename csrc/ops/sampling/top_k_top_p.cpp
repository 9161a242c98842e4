// npu_top_k_top_p: logits without those that sampling would not choose from.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>

#include <limits>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_top_k_top_p";

// --- work: rows are sorted, then swept: compare and select for k; softmax, sum, compare and select
// for p; and a scatter back to their order.
model::Work sort_rows(const aten::Call& call) {
  const at::Tensor& logits = aten::tensor_at(call, 0);
  const std::int64_t columns = aten::size_along(logits, -1);
  if (logits.numel() == 0) return model::NoWork{};
  return model::SortWork{.rows = logits.numel() / columns,
                         .columns = columns,
                         .k = columns,
                         .format = aten::format_of(logits),
                         .written = aten::bytes_of(logits) + base::Bytes{logits.numel() * 4}};
}
model::Work sweep_rows(const aten::Call& call) {
  return aten::row_wise(call, aten::size_along(aten::tensor_at(call, 0), -1),
                        {.linear = 9, .special = 1, .reductions = 3});
}
constexpr aten::Describer kThenSweeps[] = {sweep_rows};
constexpr aten::Entry kEntries[] = {{kOp, sort_rows, kThenSweeps}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check_limit(const char* argument, const at::Tensor& logits, const MaybeTensor& limit) {
  TORCH_CHECK_VALUE(!given(limit) || (limit->dim() == 1 && limit->size(0) == logits.size(0)), kOp,
                    ": expected ", argument, " of [", logits.size(0), "], one a row, got ",
                    given(limit) ? limit->sizes() : at::IntArrayRef{});
}

void check_arguments(const at::Tensor& logits, const MaybeTensor& p, const MaybeTensor& k) {
  TORCH_CHECK_VALUE(logits.dim() == 2, kOp, ": expected logits of [rows, vocabulary], got ",
                    logits.sizes());
  TORCH_CHECK_TYPE(logits.is_floating_point() && logits.element_size() > 1, kOp,
                   ": expected logits of float32, float16 or bfloat16, got ", logits.scalar_type());
  check_limit("p", logits, p);
  check_limit("k", logits, k);
  TORCH_CHECK_TYPE(!given(p) || p->scalar_type() == logits.scalar_type(), kOp, ": expected p of ",
                   logits.scalar_type(), ", the dtype of logits, got ",
                   given(p) ? p->scalar_type() : at::kFloat);
  if (given(k)) check_indices({kOp, "k"}, *k, 1, logits.size(1) + 1);
}

// --- compute
const double kNothing = -std::numeric_limits<double>::infinity();

// Ascending rows without what is smaller than the k-th largest; equals of it stay.
at::Tensor best(const at::Tensor& ascending, const at::Tensor& k) {
  const at::Tensor place = (ascending.size(1) - k.to(at::kLong)).unsqueeze(1);
  return ascending.masked_fill(ascending < at::gather(ascending, 1, place), kNothing);
}

// Ascending rows without the smallest, whose probabilities add up to 1 - p at most; one stays.
at::Tensor nucleus(const at::Tensor& ascending, const at::Tensor& p) {
  at::Tensor outside =
      at::softmax(widened(ascending), -1).cumsum(-1) <= (1 - widened(p)).unsqueeze(1);
  outside.narrow(1, ascending.size(1) - 1, 1).fill_(false);
  return ascending.masked_fill(outside, kNothing);
}

at::Tensor top_k_top_p(const at::Tensor& logits, const MaybeTensor& p, const MaybeTensor& k) {
  check_arguments(logits, p, k);
  if (logits.numel() == 0) return logits.clone();
  const auto [sorted, order] = at::sort(logits, /*stable=*/true, /*dim=*/-1, /*descending=*/false);
  at::Tensor kept = given(k) ? best(sorted, *k) : sorted;
  if (given(p)) kept = nucleus(kept, *p);
  return at::empty_like(kept).scatter_(-1, order, kept);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&top_k_top_p>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
