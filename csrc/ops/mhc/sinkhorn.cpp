// npu_mhc_sinkhorn: makes the mixing matrix doubly stochastic, by turns along rows and columns.
#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kLanes = 8;  // the history's last axis is padded to 32 bytes

// --- work: a softmax, then a sum, an addition and a division for each of 2 iterations - 1 steps.
// The matrices stay in the unified buffer from the first step to the last.
model::Work sinkhorn_work(const aten::Call& call) {
  const std::int64_t steps = 2 * aten::integer_at(call, 2, 20) - 1;
  const std::int64_t streams = aten::size_along(call.argument(0), -1);
  return aten::row_wise(call, streams * streams,
                        {.linear = aten::instructions(4 + 2 * steps),
                         .special = aten::instructions(1 + steps),
                         .reductions = 1});
}
model::Work sinkhorn_backward_work(const aten::Call& call) {
  const std::int64_t matrices = aten::elements_of(call.argument(0));
  const std::int64_t steps = aten::ratio(aten::elements_of(call.argument(1)), matrices);
  const std::int64_t streams = aten::size_along(call.argument(0), -1);
  return aten::row_wise(call, streams * streams,
                        {.linear = aten::instructions(4 + 4 * steps),
                         .special = aten::instructions(steps),
                         .reductions = 1});
}
constexpr aten::Entry kEntries[] = {
    {"npu_mhc_sinkhorn", sinkhorn_work},
    {"npu_mhc_sinkhorn_backward", sinkhorn_backward_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// Step 0 is the softmax; odd steps divide by column sums (axis -2), even ones by row sums.
std::int64_t axis_of(std::int64_t step) { return step % 2 == 1 ? -2 : -1; }

// The forward pass's history: what each step gave, and what it divided by. Its layout is this
// package's own; only npu_mhc_sinkhorn_backward reads it.
struct History {
  std::vector<at::Tensor> steps;
  std::vector<at::Tensor> sums;
};

at::Tensor padded(const at::Tensor& x) { return at::constant_pad_nd(x, {0, kLanes - x.size(-1)}); }

std::tuple<at::Tensor, at::Tensor, at::Tensor> sinkhorn(const at::Tensor& x, double eps,
                                                        c10::SymInt num_iters,
                                                        std::int64_t out_flag) {
  constexpr const char* kOp = "npu_mhc_sinkhorn";
  const std::int64_t n = x.dim() > 0 ? x.size(-1) : 0;
  TORCH_CHECK_VALUE(x.dim() == 3 || x.dim() == 4, kOp, ": expected x of 3 or 4 axes, got ",
                    x.sizes());
  TORCH_CHECK_VALUE((n == 4 || n == 6 || n == 8) && x.size(-2) == n, kOp,
                    ": expected square matrices of 4, 6 or 8 streams, got x of ", x.sizes());
  TORCH_CHECK_TYPE(x.scalar_type() == at::kFloat, kOp, ": expected x of float32, got ",
                   x.scalar_type());
  const std::int64_t iterations = num_iters.expect_int();
  TORCH_CHECK_VALUE(iterations > 0 && iterations <= 100, kOp,
                    ": expected num_iters in [1, 100], got ", iterations);

  History history;
  at::Tensor y = at::softmax(x, -1) + eps;
  history.steps.push_back(y);
  history.sums.push_back(at::zeros_like(y.select(-1, 0)));
  for (std::int64_t step = 1; step < 2 * iterations; ++step) {
    const std::int64_t axis = axis_of(step);
    const at::Tensor sum = y.sum(axis) + eps;
    y = y / sum.unsqueeze(axis);
    if (out_flag == 0) continue;
    history.steps.push_back(y);
    history.sums.push_back(sum);
  }
  if (out_flag == 0) return {y, at::Tensor(), at::Tensor()};
  return {y, padded(at::stack(history.steps)).flatten(), padded(at::stack(history.sums)).flatten()};
}

// A step y = p / (sum(p) + eps): dp = (dy - sum(dy y)) / (sum(p) + eps). The softmax's own values
// are step 0 less eps, which its derivative s (d - sum(s d)) takes as they are: eps is 1e-6.
at::Tensor sinkhorn_backward(const at::Tensor& grad_y, const at::Tensor& norm,
                             const at::Tensor& sum) {
  constexpr const char* kOp = "npu_mhc_sinkhorn_backward";
  TORCH_CHECK_VALUE(norm.defined() && sum.defined() && norm.numel() > 0, kOp,
                    ": expected the history of the forward pass, got none; call npu_mhc_sinkhorn "
                    "with out_flag=1");
  const std::int64_t n = grad_y.size(-1);
  const std::int64_t steps = norm.numel() / (grad_y.numel() / n * kLanes);
  std::vector<std::int64_t> shape = {steps};
  shape.insert(shape.end(), grad_y.sizes().begin(), grad_y.sizes().end());
  shape.back() = kLanes;
  TORCH_CHECK_VALUE(norm.numel() == c10::multiply_integers(shape), kOp,
                    ": expected norm of the forward pass for grad_y ", grad_y.sizes(), ", got ",
                    norm.sizes());
  const at::Tensor values = norm.view(shape).slice(-1, 0, n);
  shape.erase(shape.end() - 2);
  const at::Tensor sums = sum.view(shape).slice(-1, 0, n);
  at::Tensor grad = grad_y;
  for (std::int64_t step = steps - 1; step > 0; --step) {
    const std::int64_t axis = axis_of(step);
    const at::Tensor along = (grad * values.select(0, step)).sum(axis, true);
    grad = (grad - along) / sums.select(0, step).unsqueeze(axis);
  }
  const at::Tensor softmax = values.select(0, 0);
  return softmax * (grad - (softmax * grad).sum(-1, true));
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&sinkhorn>(m, "npu_mhc_sinkhorn");
  composed_kernel<&sinkhorn_backward>(m, "npu_mhc_sinkhorn_backward");
  derivative(m, "npu_mhc_sinkhorn", "x: npu_mhc_sinkhorn_backward(grad, result1, result2)");
}

}  // namespace
}  // namespace npu_sim::ops
