// Cross entropy of a vocabulary that is split over cards, fused with the product before it:
// npu_fused_linear_online_max_sum before the all-reduce, npu_fused_cross_entropy_loss_with_max_sum
// after it, and the gradient of both.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kBits = 8;  // rows of target_mask in a byte, the first in the highest bit

// --- work: the product; exponentials and sums of a tile hide behind the next tile's product.
model::Work product(const aten::Call& call, std::size_t input) {
  const at::Tensor& left = aten::tensor_at(call, input);
  const at::Tensor& weight = aten::tensor_at(call, input + 1);
  return model::MatmulWork{.m = aten::size_along(left, 0),
                           .n = aten::size_along(weight, 0),
                           .k = aten::size_along(left, 1),
                           .a = aten::format_of(left),
                           .b = aten::format_of(weight),
                           .out = aten::format_of(left),
                           .b_transposed = true};
}
model::Work online_max_sum_work(const aten::Call& call) { return product(call, 0); }

// Backward: the logits again unless their softmax was kept, then a product a gradient.
model::Work recomputed_logits(const aten::Call& call) {
  if (aten::tensor_at(call, 8).defined()) return model::NoWork{};
  return product(call, 1);
}
model::Work input_gradient(const aten::Call& call) {
  auto work = std::get<model::MatmulWork>(product(call, 1));
  std::swap(work.n, work.k);
  work.b_transposed = false;
  return work;
}
model::Work weight_gradient(const aten::Call& call) {
  const auto forward = std::get<model::MatmulWork>(product(call, 1));
  model::MatmulWork work = forward;
  work.m = forward.n;
  work.n = forward.k;
  work.k = forward.m;
  work.a_transposed = true;
  work.b_transposed = false;
  return work;
}
constexpr aten::Describer kBackwardRest[] = {weight_gradient, recomputed_logits};
constexpr aten::Entry kEntries[] = {
    {"npu_fused_linear_online_max_sum", online_max_sum_work},
    {"npu_fused_cross_entropy_loss_with_max_sum", aten::elements<2, 2>},
    {"npu_fused_linear_cross_entropy_loss_with_max_sum_backward", input_gradient, kBackwardRest},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check_product(const char* op, const at::Tensor& input, const at::Tensor& weight) {
  TORCH_CHECK_TYPE(input.is_floating_point() && input.scalar_type() == weight.scalar_type(), op,
                   ": expected input and weight of one floating dtype, got ", input.scalar_type(),
                   " and ", weight.scalar_type());
  TORCH_CHECK_VALUE(input.dim() == 2 && weight.dim() == 2 && input.size(1) == weight.size(1), op,
                    ": expected input [N, H] and weight [V, H], got ", input.sizes(), " and ",
                    weight.sizes());
}

void check_one_a_row(const char* op, const char* name, const at::Tensor& tensor,
                     std::int64_t rows) {
  TORCH_CHECK_VALUE(tensor.dim() == 1 && tensor.size(0) == rows, op, ": expected ", name, " [",
                    rows, "], one a row of input, got ", tensor.sizes());
}

bool is_index(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kInt || tensor.scalar_type() == at::kLong;
}

// --- compute
// One bit a row, ones behind the last: [0, 1, 0 ...] is 0b010...
at::Tensor packed(const at::Tensor& mask) {
  const std::int64_t rows = mask.size(0);
  const std::int64_t padding = (kBits - rows % kBits) % kBits;
  const at::Tensor bits = at::constant_pad_nd(mask.to(at::kByte), {0, padding}, 1);
  const at::Tensor weights = at::arange(kBits - 1, -1, -1, mask.options().dtype(at::kInt)).exp2();
  return (bits.view({-1, kBits}) * weights.to(at::kByte)).sum(1).to(at::kByte);
}

at::Tensor unpacked(const at::Tensor& mask, std::int64_t rows) {
  const at::Tensor shifts =
      at::arange(kBits - 1, -1, -1, mask.options().dtype(at::kInt)).to(at::kByte);
  return at::bitwise_right_shift(mask.unsqueeze(1), shifts)
      .bitwise_and(1)
      .flatten()
      .slice(0, 0, rows);
}

using Six = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Six online_max_sum(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& target,
                   std::int64_t first, std::int64_t last, bool return_logits) {
  constexpr const char* kOp = "npu_fused_linear_online_max_sum";
  check_product(kOp, input, weight);
  TORCH_CHECK_TYPE(is_index(target), kOp, ": expected target of int32 or int64, got ",
                   target.scalar_type());
  check_one_a_row(kOp, "target", target, input.size(0));
  TORCH_CHECK_VALUE(first >= 0 && first <= last && last - first < weight.size(0), kOp,
                    ": expected 0 <= vocab_start_index <= vocab_end_index < vocab_start_index + ",
                    weight.size(0), ", the rows of weight, got ", first, " and ", last);
  const at::Tensor logits = at::matmul(widened(input), widened(weight).t());
  const at::Tensor most = logits.amax(1);
  const at::Tensor below = logits - most.unsqueeze(1);
  const at::Tensor outside = target.lt(first).logical_or(target.gt(last));
  const at::Tensor place = (target - first).masked_fill(outside, 0);
  const at::Tensor predicted = below.gather(1, place.to(at::kLong).unsqueeze(1)).squeeze(1);
  return {most.to(at::kFloat),
          below.exp().sum(1).to(at::kFloat),
          predicted.masked_fill(outside, 0).to(at::kFloat),
          packed(outside),
          place,
          return_logits ? logits.to(input.scalar_type()) : at::Tensor()};
}

std::tuple<at::Tensor, at::Tensor> loss_with_max_sum(
    const at::Tensor& logits_max, const at::Tensor& sum_exp, const at::Tensor& predicted,
    std::optional<double> label_smoothing, const std::optional<at::Tensor>& input,
    const std::optional<at::Tensor>& weight, const std::optional<at::Tensor>& logits) {
  constexpr const char* kOp = "npu_fused_cross_entropy_loss_with_max_sum";
  TORCH_CHECK_NOT_IMPLEMENTED(label_smoothing.value_or(0) == 0, kOp,
                              ": expected label_smoothing 0, the only one the card has, got ",
                              label_smoothing.value_or(0));
  const auto given = [](const std::optional<at::Tensor>& x) { return x && x->defined(); };
  TORCH_CHECK_NOT_IMPLEMENTED(!given(input) && !given(weight), kOp,
                              ": expected input and weight None, the only form the card has");
  TORCH_CHECK_VALUE(logits_max.dim() == 1 && sum_exp.sizes() == logits_max.sizes() &&
                        predicted.sizes() == logits_max.sizes(),
                    kOp, ": expected logits_max, sum_exp_logits and predicted_logits [N], got ",
                    logits_max.sizes(), ", ", sum_exp.sizes(), " and ", predicted.sizes());
  TORCH_CHECK_TYPE(logits_max.scalar_type() == at::kFloat && sum_exp.scalar_type() == at::kFloat &&
                       predicted.scalar_type() == at::kFloat,
                   kOp, ": expected logits_max, sum_exp_logits and predicted_logits of float32");
  const at::Tensor loss = sum_exp.log() - predicted;
  if (!given(logits)) return {loss, at::Tensor()};
  TORCH_CHECK_VALUE(logits->dim() == 2 && logits->size(0) == logits_max.size(0), kOp,
                    ": expected vocab_parallel_logits [", logits_max.size(0), ", V], got ",
                    logits->sizes());
  return {loss, (widened(*logits) - logits_max.unsqueeze(1)).exp() / sum_exp.unsqueeze(1)};
}

// softmax as kept, or again from the logits, the maximum and the sum.
at::Tensor softmax_of(const char* op, const at::Tensor& input, const at::Tensor& weight,
                      const std::optional<at::Tensor>& most, const std::optional<at::Tensor>& sum,
                      const std::optional<at::Tensor>& kept) {
  if (given(kept)) {
    TORCH_CHECK_VALUE(
        kept->dim() == 2 && kept->size(0) == input.size(0) && kept->size(1) == weight.size(0), op,
        ": expected softmax [", input.size(0), ", ", weight.size(0), "], got ", kept->sizes());
    return widened(*kept);
  }
  TORCH_CHECK_VALUE(most && most->defined() && sum && sum->defined(), op,
                    ": expected softmax, or logits_max and sum_exp_logits, got neither");
  check_one_a_row(op, "logits_max", *most, input.size(0));
  check_one_a_row(op, "sum_exp_logits", *sum, input.size(0));
  const at::Tensor logits = at::matmul(widened(input), widened(weight).t());
  return (logits - most->unsqueeze(1)).exp() / sum->unsqueeze(1);
}

std::tuple<at::Tensor, at::Tensor> backward(const at::Tensor& grad, const at::Tensor& input,
                                            const at::Tensor& weight, const at::Tensor& target_mask,
                                            const at::Tensor& masked_target, double label_smoothing,
                                            const std::optional<at::Tensor>& logits_max,
                                            const std::optional<at::Tensor>& sum_exp,
                                            const std::optional<at::Tensor>& softmax) {
  constexpr const char* kOp = "npu_fused_linear_cross_entropy_loss_with_max_sum_backward";
  check_product(kOp, input, weight);
  TORCH_CHECK_NOT_IMPLEMENTED(label_smoothing == 0, kOp,
                              ": expected label_smoothing 0, the only one the card has, got ",
                              label_smoothing);
  check_one_a_row(kOp, "grad", grad, input.size(0));
  check_one_a_row(kOp, "masked_target", masked_target, input.size(0));
  TORCH_CHECK_TYPE(is_index(masked_target) && target_mask.scalar_type() == at::kByte, kOp,
                   ": expected masked_target of int32 or int64 and target_mask of uint8, got ",
                   masked_target.scalar_type(), " and ", target_mask.scalar_type());
  check_one_a_row(kOp, "target_mask", target_mask, (input.size(0) + kBits - 1) / kBits);
  if (!masked_target.is_meta() && masked_target.numel() > 0) {
    TORCH_CHECK_INDEX(masked_target.min().item<std::int64_t>() >= 0 &&
                          masked_target.max().item<std::int64_t>() < weight.size(0),
                      kOp, ": expected masked_target in [0, ", weight.size(0), ")");
  }
  const at::Tensor probability = softmax_of(kOp, input, weight, logits_max, sum_exp, softmax);
  const at::Tensor present = 1 - unpacked(target_mask, input.size(0)).to(probability.scalar_type());
  const at::Tensor logits_grad =
      probability.scatter_add(1, masked_target.to(at::kLong).unsqueeze(1), -present.unsqueeze(1)) *
      grad.unsqueeze(1);
  return {at::matmul(logits_grad, widened(weight)).to(input.scalar_type()),
          at::matmul(logits_grad.t(), widened(input)).to(input.scalar_type())};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&online_max_sum>(m, "npu_fused_linear_online_max_sum");
  composed_kernel<&loss_with_max_sum>(m, "npu_fused_cross_entropy_loss_with_max_sum");
  composed_kernel<&backward>(m, "npu_fused_linear_cross_entropy_loss_with_max_sum_backward");
}

}  // namespace
}  // namespace npu_sim::ops
