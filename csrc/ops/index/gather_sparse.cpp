// Rows picked by an index and added up by one: npu_gather_sparse_index, _npu_index_add and
// npu_gather_backward.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/work_of.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work
// Rows of `source` that go to, or come from, the places of `index`.
model::GatherWork rows(const at::Tensor& source, const at::Tensor& index, const at::Tensor& table) {
  const std::int64_t items = aten::elements_of(index);
  const base::Bytes bytes = aten::bytes_of(source);
  const std::int64_t elements = aten::ratio(aten::elements_of(source), items);
  return {.items = items,
          .item = base::Bytes(elements * static_cast<std::int64_t>(source.element_size())),
          .index = aten::bytes_of(index),
          .written = bytes,
          .read = bytes,
          .table = aten::bytes_of(table)};
}
model::Work gather_work(const aten::Call& call) {
  return rows(call.result(), aten::tensor_at(call, 1), aten::tensor_at(call, 0));
}
model::Work added(const at::Tensor& source, const at::Tensor& index, const at::Tensor& table) {
  model::GatherWork work = rows(source, index, table);
  work.scatter = true;
  work.accumulates = true;
  return work;
}
model::Work gather_backward_work(const aten::Call& call) {
  return added(aten::tensor_at(call, 0), aten::tensor_at(call, 2), call.result());
}
model::Work index_add_work(const aten::Call& call) {
  return added(aten::tensor_at(call, 2), aten::tensor_at(call, 1), call.result());
}
model::Work element_backward_work(const aten::Call& call) {
  return added(aten::tensor_at(call, 0), aten::tensor_at(call, 3), call.result());
}
// The zeros, or the copy, that the sums start from.
model::Work start_from_zeros(const aten::Call& call) { return aten::work_of::fill(call.result()); }
model::Work start_from_input(const aten::Call& call) {
  const at::Tensor& input = aten::tensor_at(call, 0);
  if (call.result().is_same(input)) return model::NoWork{};
  return aten::work_of::copy(call.result(), input);
}
constexpr aten::Describer kZeros[] = {start_from_zeros};
constexpr aten::Describer kCopy[] = {start_from_input};
constexpr aten::Entry kEntries[] = {
    {"npu_gather_sparse_index", gather_work},
    {"npu_gather_sparse_index_backward", gather_backward_work, kZeros},
    {"_npu_index_add", index_add_work, kCopy},
    {"npu_gather_backward", element_backward_work, kZeros},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using Sizes = std::vector<std::int64_t>;

// --- compute
at::Tensor gather_sparse_index(const at::Tensor& input, const at::Tensor& index) {
  constexpr const char* kOp = "npu_gather_sparse_index";
  TORCH_CHECK_VALUE(input.dim() >= 1, kOp, ": expected input of at least one axis, got a number");
  check_indices({kOp, "index"}, index, 0, input.size(0));
  Sizes sizes = index.sizes().vec();
  sizes.insert(sizes.end(), input.sizes().begin() + 1, input.sizes().end());
  return input.index_select(0, index.flatten()).view(sizes);
}

// target[index[i]] += alpha source[i]; narrow floats add up in fp32 and are rounded once.
at::Tensor sums(const at::Tensor& target, const at::Tensor& index, const at::Tensor& source,
                const at::Scalar& alpha) {
  if (!target.is_floating_point()) return target.index_add(0, index, source, alpha);
  return widened(target).index_add(0, index, widened(source), alpha).to(target.scalar_type());
}

at::Tensor gather_sparse_index_backward(const at::Tensor& grad, c10::SymIntArrayRef self_sizes,
                                        const at::Tensor& index) {
  constexpr const char* kOp = "npu_gather_sparse_index_backward";
  const auto sizes = C10_AS_INTARRAYREF_SLOW(self_sizes);
  TORCH_CHECK_VALUE(!sizes.empty(), kOp, ": expected self_sizes of at least one axis");
  check_indices({kOp, "index"}, index, 0, sizes[0]);
  Sizes row = sizes.vec();
  row[0] = index.numel();
  TORCH_CHECK_VALUE(grad.numel() == c10::multiply_integers(row), kOp, ": expected grad of ", row,
                    ", a row an index, got ", grad.sizes());
  return sums(at::zeros(sizes, grad.options()), index.flatten(), grad.reshape(row), 1);
}

void check_add(const char* op, const at::Tensor& input, const at::Tensor& index,
               const at::Tensor& source) {
  TORCH_CHECK_VALUE(input.dim() >= 1 && index.dim() == 1, op,
                    ": expected index [n] for input of at least one axis, got ", index.sizes(),
                    " for ", input.sizes());
  Sizes row = input.sizes().vec();
  row[0] = index.size(0);
  TORCH_CHECK_VALUE(source.sizes() == row, op, ": expected source of ", row, ", got ",
                    source.sizes());
  TORCH_CHECK_TYPE(source.scalar_type() == input.scalar_type(), op,
                   ": expected source of the dtype of input ", input.scalar_type(), ", got ",
                   source.scalar_type());
  check_indices({op, "index"}, index, 0, input.size(0));
}

at::Tensor index_add(const at::Tensor& input, const at::Tensor& index, const at::Tensor& source,
                     const at::Scalar& alpha) {
  check_add("_npu_index_add", input, index, source);
  return sums(input, index, source, alpha);
}

at::Tensor& index_add_(at::Tensor& input, const at::Tensor& index, const at::Tensor& source,
                       const at::Scalar& alpha) {
  check_add("_npu_index_add_", input, index, source);
  return input.copy_(sums(input, index, source, alpha));
}

at::Tensor gather_backward(const at::Tensor& grad, c10::SymIntArrayRef self_size, std::int64_t dim,
                           const at::Tensor& index, bool sparse_grad) {
  constexpr const char* kOp = "npu_gather_backward";
  TORCH_CHECK_NOT_IMPLEMENTED(!sparse_grad, kOp, ": expected sparse_grad False, got True");
  const auto sizes = C10_AS_INTARRAYREF_SLOW(self_size);
  const auto axes = static_cast<std::int64_t>(sizes.size());
  TORCH_CHECK_VALUE(grad.sizes() == index.sizes() && index.dim() == axes, kOp,
                    ": expected grad and index of one shape with ", axes, " axes, got ",
                    grad.sizes(), " and ", index.sizes());
  TORCH_CHECK_INDEX(axes > 0 && dim >= -axes && dim < axes, kOp, ": expected dim in [", -axes, ", ",
                    axes - 1, "], got ", dim);
  check_indices({kOp, "index"}, index, 0,
                sizes[static_cast<std::size_t>(dim < 0 ? dim + axes : dim)]);
  const at::Tensor start = at::zeros(sizes, widened(grad).options());
  return start.scatter_add(dim, index.to(at::kLong), widened(grad)).to(grad.scalar_type());
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&gather_sparse_index>(m, "npu_gather_sparse_index");
  composed_kernel<&gather_sparse_index_backward>(m, "npu_gather_sparse_index_backward");
  derivative(m, "npu_gather_sparse_index",
             "input: npu_gather_sparse_index_backward(grad, input.sizes, index)");
  composed_kernel<&index_add>(m, "_npu_index_add");
  composed_kernel<&index_add_>(m, "_npu_index_add_");
  composed_kernel<&gather_backward>(m, "npu_gather_backward");
}

}  // namespace
}  // namespace npu_sim::ops
