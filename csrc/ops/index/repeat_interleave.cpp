// The gradients of repeat_interleave: every input element sums those of its repetitions.
#include <ATen/TensorOperators.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: a sum of every repetition into its element.
constexpr aten::VectorCost kSum{};
constexpr aten::Entry kEntries[] = {
    {"repeat_interleave_backward_int", aten::reduction<kSum>},
    {"repeat_interleave_backward_tensor", aten::reduction<kSum>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// Without `dim` the gradient is flat; the real operator takes its last axis, which then is all.
std::int64_t axis_of(const char* op, const at::Tensor& grad, std::optional<std::int64_t> dim) {
  const std::int64_t axis = dim.value_or(-1);
  TORCH_CHECK_INDEX(grad.dim() > 0 && axis >= -grad.dim() && axis < grad.dim(), op,
                    ": expected dim in [", -grad.dim(), ", ", grad.dim() - 1, "], got ", axis);
  return axis < 0 ? axis + grad.dim() : axis;
}

at::Tensor of_one_count(const char* op, const at::Tensor& grad, const at::Tensor& input,
                        std::int64_t repeats, std::optional<std::int64_t> dim) {
  const std::int64_t axis = axis_of(op, grad, dim);
  TORCH_CHECK_VALUE(
      repeats > 0 && grad.numel() == input.numel() * repeats && grad.size(axis) % repeats == 0, op,
      ": expected grad of ", repeats, " times the elements of input ", input.sizes(), ", got ",
      grad.sizes());
  std::vector<std::int64_t> shape = grad.sizes().vec();
  shape[static_cast<std::size_t>(axis)] /= repeats;
  shape.insert(shape.begin() + axis + 1, repeats);
  return widened(grad).reshape(shape).sum(axis + 1).view(input.sizes()).to(grad.scalar_type());
}

at::Tensor backward_int(const at::Tensor& grad, const at::Tensor& input, c10::SymInt repeats,
                        std::optional<std::int64_t> dim) {
  return of_one_count("repeat_interleave_backward_int", grad, input, repeats.expect_int(), dim);
}

at::Tensor backward_tensor(const at::Tensor& grad, const at::Tensor& input,
                           const at::Tensor& repeats, std::optional<std::int64_t> dim) {
  constexpr const char* kOp = "repeat_interleave_backward_tensor";
  const std::int64_t axis = axis_of(kOp, grad, dim);
  TORCH_CHECK_TYPE(repeats.scalar_type() == at::kLong || repeats.scalar_type() == at::kInt, kOp,
                   ": expected repeats of int32 or int64, got ", repeats.scalar_type());
  if (repeats.is_meta()) return at::zeros(input.sizes(), grad.options());
  if (repeats.numel() == 1) {
    return of_one_count(kOp, grad, input, repeats.item<std::int64_t>(), dim);
  }
  std::vector<std::int64_t> shape = grad.sizes().vec();
  shape[static_cast<std::size_t>(axis)] = repeats.numel();
  TORCH_CHECK_VALUE(repeats.dim() == 1 && repeats.ge(0).all().item<bool>() &&
                        repeats.sum().item<std::int64_t>() == grad.size(axis) &&
                        c10::multiply_integers(shape) == input.numel(),
                    kOp, ": expected repeats, one an element of input ", input.sizes(),
                    " along dim, with the sum ", grad.size(axis), ", got ", repeats.sizes());
  const at::Tensor sums = at::zeros(shape, widened(grad).options());
  return sums.index_add(axis, at::repeat_interleave(repeats), widened(grad))
      .view(input.sizes())
      .to(grad.scalar_type());
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&backward_int>(m, "repeat_interleave_backward_int");
  composed_kernel<&backward_tensor>(m, "repeat_interleave_backward_tensor");
}

}  // namespace
}  // namespace npu_sim::ops
