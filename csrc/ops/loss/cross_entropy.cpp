// npu_cross_entropy_loss and its gradient: log-softmax and the negative log-likelihood in one
// kernel.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: a long row keeps a running maximum and sum, then writes x - lse; backward takes exp of
// that, scales, and subtracts at one place.
constexpr aten::VectorCost kForward{.linear = 5, .special = 1, .reductions = 2, .passes = 2};
constexpr aten::VectorCost kBackward{.linear = 3, .special = 1, .reductions = 1};
model::Work forward_work(const aten::Call& call) {
  return aten::row_wise(call, aten::size_along(aten::tensor_at(call, 0), -1), kForward);
}
model::Work backward_work(const aten::Call& call) {
  return aten::row_wise(call, aten::size_along(aten::tensor_at(call, 1), -1), kBackward);
}
constexpr aten::Entry kEntries[] = {
    {"npu_cross_entropy_loss", forward_work},
    {"npu_cross_entropy_loss_backward", backward_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
enum class Reduction : std::uint8_t { kNone, kMean, kSum };

Reduction reduction_of(const char* op, c10::string_view name) {
  if (name == "none") return Reduction::kNone;
  if (name == "mean") return Reduction::kMean;
  TORCH_CHECK_VALUE(name == "sum", op, ": expected reduction 'mean', 'sum' or 'none', got '", name,
                    "'");
  return Reduction::kSum;
}

void check_rows(const char* op, const at::Tensor& rows, const at::Tensor& target) {
  TORCH_CHECK_TYPE(rows.is_floating_point(), op, ": expected a floating input, got ",
                   rows.scalar_type());
  TORCH_CHECK_TYPE(target.scalar_type() == at::kLong, op, ": expected target of int64, got ",
                   target.scalar_type());
  TORCH_CHECK_VALUE(rows.dim() == 2 && rows.size(1) > 0, op,
                    ": expected input [N, C] with C > 0, got ", rows.sizes());
  TORCH_CHECK_VALUE(target.dim() == 1 && target.size(0) == rows.size(0), op,
                    ": expected target [N] for input ", rows.sizes(), ", got ", target.sizes());
}

void check_choices(const char* op, const at::Tensor& rows, const std::optional<at::Tensor>& weight,
                   std::int64_t ignore_index, double label_smoothing) {
  const std::int64_t classes = rows.size(1);
  if (given(weight)) {
    TORCH_CHECK_VALUE(weight->dim() == 1 && weight->size(0) == classes, op,
                      ": expected weight [C] for input ", rows.sizes(), ", got ", weight->sizes());
  }
  TORCH_CHECK_VALUE(ignore_index < classes, op, ": expected ignore_index below C = ", classes,
                    ", got ", ignore_index);
  TORCH_CHECK_VALUE(label_smoothing >= 0 && label_smoothing < 1, op,
                    ": expected label_smoothing in [0, 1), got ", label_smoothing);
}

void check_targets(const char* op, const at::Tensor& target, std::int64_t classes) {
  if (target.is_meta() || target.numel() == 0) return;
  const auto least = target.min().item<std::int64_t>();
  const auto most = target.max().item<std::int64_t>();
  TORCH_CHECK_INDEX(least >= 0 && most < classes, op, ": expected target in [0, ", classes,
                    "), got values from ", least, " to ", most,
                    "; a negative ignore_index ignores nothing on the card");
}

void check_no_zloss(const char* op, double scale, bool returned) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      scale == 0 && !returned, op,
      ": expected lse_square_scale_for_zloss = 0 and return_zloss = False, got ", scale, " and ",
      returned, "; the z-loss is documented as unsupported on the card");
}

// --- compute
// What a row counts: the weight of its class, 0 where the class is ignored; and 1 or 0 for the
// same.
struct RowWeights {
  at::Tensor classes;  // [C], the weights of all classes
  at::Tensor target;   // [N]
  at::Tensor kept;     // [N]
};

RowWeights row_weights(const at::Tensor& rows, const at::Tensor& target,
                       const std::optional<at::Tensor>& weight, std::int64_t ignore_index) {
  const at::Tensor classes =
      given(weight) ? weight->to(rows.scalar_type()) : at::ones({rows.size(1)}, rows.options());
  const at::Tensor kept = ignore_index < 0 ? at::ones({rows.size(0)}, rows.options())
                                           : target.ne(ignore_index).to(rows.scalar_type());
  return {.classes = classes, .target = classes.index_select(0, target) * kept, .kept = kept};
}

using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// loss = (1 - s) sum_n w_y nll_n + s / C sum_n sum_c w_c nll_nc, over sum_n w_y for the mean.
Four cross_entropy_loss(const at::Tensor& input, const at::Tensor& target,
                        const std::optional<at::Tensor>& weight, c10::string_view reduction,
                        std::int64_t ignore_index, double label_smoothing, double zloss_scale,
                        bool return_zloss) {
  constexpr const char* kOp = "npu_cross_entropy_loss";
  const Reduction kind = reduction_of(kOp, reduction);
  check_rows(kOp, input, target);
  check_choices(kOp, input, weight, ignore_index, label_smoothing);
  check_no_zloss(kOp, zloss_scale, return_zloss);
  check_targets(kOp, target, input.size(1));

  const at::Tensor log_prob = at::log_softmax(widened(input), 1);
  const RowWeights rows = row_weights(log_prob, target, weight, ignore_index);
  const at::Tensor picked = log_prob.gather(1, target.unsqueeze(1)).squeeze(1);
  at::Tensor loss = picked * rows.target * (label_smoothing - 1);
  if (label_smoothing > 0) {
    const at::Tensor smooth = (log_prob * rows.classes).sum(1) * rows.kept;
    loss = loss - smooth * (label_smoothing / static_cast<double>(input.size(1)));
  }
  if (kind != Reduction::kNone) loss = loss.sum(0, /*keepdim=*/true);
  if (kind == Reduction::kMean) loss = loss / rows.target.sum();
  const auto dtype = input.scalar_type();
  return {loss.to(dtype), log_prob.to(dtype), at::empty({0}, input.options()),
          at::empty({0}, input.options())};
}

// With p = exp(log_prob), a the weight of the target's term and b of each class's smoothing term:
// dx = p (a + b sum(w)) - a onehot(y) - b w.
at::Tensor cross_entropy_loss_backward(const at::Tensor& grad_loss, const at::Tensor& log_prob,
                                       const at::Tensor& target,
                                       const std::optional<at::Tensor>& weight,
                                       const std::optional<at::Tensor>& /*grad_zloss*/,
                                       const std::optional<at::Tensor>& /*lse_for_zloss*/,
                                       c10::string_view reduction, std::int64_t ignore_index,
                                       double label_smoothing, double zloss_scale) {
  constexpr const char* kOp = "npu_cross_entropy_loss_backward";
  const Reduction kind = reduction_of(kOp, reduction);
  check_rows(kOp, log_prob, target);
  check_choices(kOp, log_prob, weight, ignore_index, label_smoothing);
  check_no_zloss(kOp, zloss_scale, false);
  check_targets(kOp, target, log_prob.size(1));
  const std::int64_t grads = kind == Reduction::kNone ? target.size(0) : 1;
  TORCH_CHECK_VALUE(grad_loss.numel() == grads, kOp, ": expected grad_loss of ", grads,
                    " elements for reduction '", reduction, "', got ", grad_loss.sizes());

  const at::Tensor wide = widened(log_prob);
  const RowWeights rows = row_weights(wide, target, weight, ignore_index);
  at::Tensor grad = grad_loss.to(wide.scalar_type()).flatten();
  if (kind == Reduction::kMean) grad = grad / rows.target.sum();
  const at::Tensor hard = (grad * rows.target * (1 - label_smoothing)).unsqueeze(1);
  const at::Tensor soft =
      (grad * rows.kept * (label_smoothing / static_cast<double>(wide.size(1)))).unsqueeze(1);
  at::Tensor dx = wide.exp() * (hard + soft * rows.classes.sum());
  if (label_smoothing > 0) dx = dx - soft * rows.classes;
  return dx.scatter_add(1, target.unsqueeze(1), -hard).to(grad_loss.scalar_type());
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&cross_entropy_loss>(m, "npu_cross_entropy_loss");
  composed_kernel<&cross_entropy_loss_backward>(m, "npu_cross_entropy_loss_backward");
  derivative(m, "npu_cross_entropy_loss",
             "input: npu_cross_entropy_loss_backward(grad, result1, target, weight, grad2, "
             "result3, reduction, ignore_index, label_smoothing, lse_square_scale_for_zloss)");
}

}  // namespace
}  // namespace npu_sim::ops
