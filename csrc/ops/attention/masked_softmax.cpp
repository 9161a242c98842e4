// Softmax of attention scores as an operator of its own: npu_scaled_masked_softmax,
// npu_attn_softmax_, their gradients, and npu_masked_softmax_with_rel_pos_bias.
//
// Source: op-plugin@517f2e7d, docs and tests.
#include <ATen/ExpandUtils.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "aten/describe/work_of.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: as aten/describe/softmax_norm.cpp has softmax, with a scale, a mask or a bias more.
constexpr aten::VectorCost kSoftmax{.linear = 4, .special = 2, .reductions = 2, .passes = 2};
constexpr aten::VectorCost kMasked{.linear = 6, .special = 2, .reductions = 2, .passes = 2};
constexpr aten::VectorCost kBackward{.linear = 4, .reductions = 1, .passes = 2};
constexpr aten::VectorCost kMaskedBackward{.linear = 6, .reductions = 1, .passes = 2};
template <aten::VectorCost cost>
model::Work rows_work(const aten::Call& call) {
  return aten::row_wise(call, aten::size_along(aten::tensor_at(call, 0), -1), cost);
}
// The gradient of the scores from that of the result, before the softmax's own.
model::Work product_work(const aten::Call& call) {
  const at::Tensor& grad = aten::tensor_at(call, 1);
  return aten::work_of::matmul(grad, aten::tensor_at(call, 2).mT(), aten::tensor_at(call, 0));
}
constexpr aten::Describer kThenBackward[] = {rows_work<kBackward>};
constexpr aten::Entry kEntries[] = {
    {"npu_scaled_masked_softmax", rows_work<kMasked>},
    {"npu_scaled_masked_softmax_backward", rows_work<kMaskedBackward>},
    {"npu_attn_softmax_", rows_work<kSoftmax>},
    {"npu_attn_softmax_backward_", product_work, kThenBackward},
    {"npu_masked_softmax_with_rel_pos_bias", rows_work<kMasked>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check_scores(const char* op, const char* name, const at::Tensor& x) {
  const at::ScalarType dtype = x.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kHalf || dtype == at::kFloat || dtype == at::kBFloat16, op,
                   ": expected ", name, " of float16, float32 or bfloat16, got ", dtype);
  TORCH_CHECK_VALUE(x.dim() > 0, op, ": expected ", name, " of at least one axis, got a scalar");
}

void check_mask(const char* op, const at::Tensor& x, const at::Tensor& mask, bool fixed_triu_mask) {
  TORCH_CHECK_TYPE(mask.scalar_type() == at::kBool, op, ": expected mask of bool, got ",
                   mask.scalar_type());
  TORCH_CHECK_VALUE(at::is_expandable_to(mask.sizes(), x.sizes()), op,
                    ": expected mask that broadcasts to ", x.sizes(), ", got ", mask.sizes());
  TORCH_CHECK_VALUE(!fixed_triu_mask, op,
                    ": expected fixed_triu_mask=False, the only one that the card supports, got ",
                    "True");
}

void check_same(const char* op, const char* name, const at::Tensor& x, const at::Tensor& like) {
  TORCH_CHECK_VALUE(x.sizes() == like.sizes(), op, ": expected ", name, " of ", like.sizes(),
                    ", got ", x.sizes());
  TORCH_CHECK_TYPE(x.scalar_type() == like.scalar_type(), op, ": expected ", name, " of ",
                   like.scalar_type(), ", got ", x.scalar_type());
}

// --- compute
at::Tensor softmax_gradient(const at::Tensor& grad, const at::Tensor& y) {
  return (grad - (grad * y).sum(-1, true)) * y;
}

// A hidden score is -10000, not -infinity: a row of hidden ones is even.
at::Tensor scaled_masked_softmax(const at::Tensor& x, const at::Tensor& mask,
                                 const at::Scalar& scale, bool fixed_triu_mask) {
  constexpr const char* kOp = "npu_scaled_masked_softmax";
  constexpr double kHidden = -10000;
  check_scores(kOp, "x", x);
  check_mask(kOp, x, mask, fixed_triu_mask);
  return (widened(x) * scale.toDouble()).masked_fill(mask, kHidden).softmax(-1).to(x.scalar_type());
}

at::Tensor scaled_masked_softmax_backward(const at::Tensor& y_grad, const at::Tensor& y,
                                          const at::Tensor& mask, const at::Scalar& scale,
                                          bool fixed_triu_mask) {
  constexpr const char* kOp = "npu_scaled_masked_softmax_backward";
  check_scores(kOp, "y_grad", y_grad);
  check_same(kOp, "y", y, y_grad);
  check_mask(kOp, y_grad, mask, fixed_triu_mask);
  return (softmax_gradient(widened(y_grad), widened(y)) * scale.toDouble())
      .masked_fill(mask, 0)
      .to(y_grad.scalar_type());
}

at::Tensor& attn_softmax_(at::Tensor& input) {
  check_scores("npu_attn_softmax_", "input", input);
  return input.copy_(widened(input).softmax(-1));
}

// input [..., queries, keys] becomes the gradient of the scores whose softmax it is.
at::Tensor& attn_softmax_backward_(at::Tensor& input, const at::Tensor& grad_output,
                                   const at::Tensor& values) {
  constexpr const char* kOp = "npu_attn_softmax_backward_";
  check_scores(kOp, "input", input);
  TORCH_CHECK_VALUE(
      grad_output.dim() >= 2 && values.dim() >= 2 && grad_output.size(-1) == values.size(-1), kOp,
      ": expected grad_output [..., queries, width] and values ", "[..., keys, width], got ",
      grad_output.sizes(), " and ", values.sizes());
  for (const at::Tensor* const x : {&grad_output, &values}) {
    TORCH_CHECK_TYPE(x->scalar_type() == input.scalar_type(), kOp,
                     ": expected grad_output and values of input's ", input.scalar_type(), ", got ",
                     x->scalar_type());
  }
  const at::Tensor grad = at::matmul(widened(grad_output), widened(values).mT());
  TORCH_CHECK_VALUE(grad.sizes() == input.sizes(), kOp, ": expected input of ", grad.sizes(),
                    ", the product of grad_output and values, got ", input.sizes());
  return input.copy_(softmax_gradient(grad, widened(input)));
}

// `x` [batch, windows, heads, rows, columns] or [batch windows, heads, rows, columns].
at::Tensor by_window(const at::Tensor& x, std::int64_t windows) {
  return x.dim() == 5 ? x : x.unflatten(0, {x.size(0) / windows, windows});
}

// softmax(scale x + mask + bias); a mask has values to add, one matrix a window.
at::Tensor masked_softmax_with_rel_pos_bias(const at::Tensor& x, const MaybeTensor& atten_mask,
                                            const at::Tensor& relative_pos_bias, double scale_value,
                                            std::int64_t /*inner_precision_mode*/) {
  constexpr const char* kOp = "npu_masked_softmax_with_rel_pos_bias";
  check_scores(kOp, "x", x);
  TORCH_CHECK_VALUE(x.dim() == 4 || x.dim() == 5, kOp,
                    ": expected x of [batch, windows, heads, rows, columns] or [batch windows, "
                    "heads, rows, columns], got ",
                    x.sizes());
  const at::IntArrayRef matrix = x.sizes().slice(static_cast<std::size_t>(x.dim() - 2));
  const std::int64_t heads = x.size(-3);
  const bool fits = relative_pos_bias.dim() >= 3 &&
                    relative_pos_bias.numel() == heads * matrix[0] * matrix[1] &&
                    relative_pos_bias.size(-3) == heads && relative_pos_bias.size(-1) == matrix[1];
  TORCH_CHECK_VALUE(fits, kOp, ": expected relative_pos_bias of [heads, rows, columns] for x ",
                    x.sizes(), ", got ", relative_pos_bias.sizes());
  TORCH_CHECK_TYPE(relative_pos_bias.scalar_type() == x.scalar_type(), kOp,
                   ": expected relative_pos_bias of x's ", x.scalar_type(), ", got ",
                   relative_pos_bias.scalar_type());
  at::Tensor scores =
      widened(x) * scale_value + widened(relative_pos_bias.reshape({heads, matrix[0], matrix[1]}));
  if (given(atten_mask)) {
    const std::int64_t cell = matrix[0] * matrix[1];
    const std::int64_t windows = cell == 0 ? 1 : atten_mask->numel() / cell;
    const std::int64_t of_x = x.dim() == 5 ? x.size(1) : x.size(0);
    TORCH_CHECK_VALUE(atten_mask->dim() >= 3 && atten_mask->numel() == windows * cell &&
                          atten_mask->size(-1) == matrix[1] && windows > 0 &&
                          (x.dim() == 5 ? windows == of_x : of_x % windows == 0),
                      kOp, ": expected atten_mask of [windows, rows, columns] for x ", x.sizes(),
                      ", got ", atten_mask->sizes());
    TORCH_CHECK_TYPE(atten_mask->scalar_type() == x.scalar_type(), kOp,
                     ": expected atten_mask of x's ", x.scalar_type(), ", got ",
                     atten_mask->scalar_type());
    const at::Tensor mask = widened(*atten_mask).reshape({1, windows, 1, matrix[0], matrix[1]});
    scores = (by_window(scores, windows) + mask).reshape(x.sizes());
  }
  return scores.softmax(-1).to(x.scalar_type());
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&scaled_masked_softmax>(m, "npu_scaled_masked_softmax");
  composed_kernel<&scaled_masked_softmax_backward>(m, "npu_scaled_masked_softmax_backward");
  derivative(m, "npu_scaled_masked_softmax",
             "x: npu_scaled_masked_softmax_backward(grad, result, mask, scale, fixed_triu_mask)");
  composed_kernel<&attn_softmax_>(m, "npu_attn_softmax_");
  composed_kernel<&attn_softmax_backward_>(m, "npu_attn_softmax_backward_");
  composed_kernel<&masked_softmax_with_rel_pos_bias>(m, "npu_masked_softmax_with_rel_pos_bias");
}

}  // namespace
}  // namespace npu_sim::ops
