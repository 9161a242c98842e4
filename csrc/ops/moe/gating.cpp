// Choice of experts: scores of a router's logits, the k best of each token, and their weights.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: scores (convert, shift, exp, sum, scale), then two instructions an element and one
// reduction for each expert that is picked. The counts are those of the published rows.
constexpr std::size_t kFirst = 1;
constexpr std::size_t kSecond = 2;

model::Work gating_work(const aten::Call& call, std::int64_t k) {
  const at::Tensor& x = aten::tensor_at(call, 0);
  return aten::row_wise(call, aten::size_along(x, -1),
                        {.linear = aten::instructions(5 + 2 * k),
                         .special = 1,
                         .reductions = aten::instructions(2 + k)});
}

template <std::size_t k>
model::Work gating_describer(const aten::Call& call) {
  return gating_work(call, aten::integer_at(call, k, 1));
}

// The scores are written only where out_flag (argument 10) asks for them.
model::Work gating_top_k_work(const aten::Call& call) {
  constexpr std::size_t kOutFlag = 10;
  model::Work work = gating_work(call, aten::integer_at(call, kFirst, 1));
  auto* const row = std::get_if<model::RowWork>(&work);
  if (row != nullptr && !aten::boolean_at(call, kOutFlag, false)) {
    row->written = row->written - aten::bytes_of(call.result(2));
  }
  return work;
}

constexpr aten::Entry kEntries[] = {
    {"npu_moe_gating_top_k", gating_top_k_work},
    {"npu_moe_gating_top_k_backward", aten::elements<6, 1>},
    {"npu_moe_gating_top_k_softmax", gating_describer<kSecond>},
    {"npu_moe_gating_top_k_softmax_v2", gating_describer<kFirst>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
enum class Score : std::int64_t { kSoftmax = 0, kSigmoid = 1, kSqrtSoftplus = 2 };

Score score_of(const char* op, std::int64_t norm_type) {
  TORCH_CHECK_VALUE(norm_type >= 0 && norm_type <= 2, op,
                    ": expected norm_type of 0 (softmax), 1 (sigmoid) or 2 (square root of "
                    "softplus), got ",
                    norm_type);
  return static_cast<Score>(norm_type);
}

at::Tensor scores(const at::Tensor& logits, Score score) {
  switch (score) {
    case Score::kSigmoid: return at::sigmoid(logits);
    case Score::kSqrtSoftplus: return at::softplus(logits).sqrt_();
    case Score::kSoftmax: break;
  }
  return at::softmax(logits, -1);
}

// The k best of the last axis, the lower index first among equals, as the card's sort has it.
at::Tensor best(const at::Tensor& values, std::int64_t k) {
  const auto sorted = at::sort(values, /*stable=*/true, /*dim=*/-1, /*descending=*/true);
  return std::get<1>(sorted).narrow(-1, 0, k);
}

struct Groups {
  std::int64_t kept;
  std::int64_t count;
  bool by_two_best;  // a group counts as its best expert, or as the sum of its two best
};

// -inf for the experts outside of the `kept` best groups.
at::Tensor limited_to_groups(const at::Tensor& values, const Groups& groups) {
  const at::Tensor grouped = values.unflatten(-1, {groups.count, -1});
  const std::int64_t of_group = groups.by_two_best ? 2 : 1;
  const at::Tensor worth = std::get<0>(at::topk(grouped, of_group, -1)).sum(-1);
  const at::Tensor kept =
      at::zeros_like(worth, at::kBool).scatter_(-1, best(worth, groups.kept), true);
  const double nothing = -std::numeric_limits<double>::infinity();
  return at::where(kept.unsqueeze(-1), grouped, nothing).flatten(-2);
}

void check_groups(std::int64_t experts, std::int64_t k, const Groups& groups) {
  constexpr const char* kOp = "npu_moe_gating_top_k";
  TORCH_CHECK_VALUE(groups.count >= 1 && experts % groups.count == 0, kOp,
                    ": expected group_count that divides the ", experts, " experts of x, got ",
                    groups.count);
  TORCH_CHECK_VALUE(groups.kept >= 1 && groups.kept <= groups.count, kOp,
                    ": expected k_group from 1 to group_count ", groups.count, ", got ",
                    groups.kept);
  const std::int64_t each = experts / groups.count;
  TORCH_CHECK_VALUE(!groups.by_two_best || groups.count == 1 || each >= 2, kOp,
                    ": expected groups of two experts or more for group_select_mode 1, got ", each);
  TORCH_CHECK_VALUE(k >= 1 && k <= groups.kept * each, kOp, ": expected k from 1 to the ",
                    groups.kept * each, " experts of k_group groups, got ", k);
}

at::Tensor hashed(const at::Tensor& input_ids, const at::Tensor& tid2eid, std::int64_t tokens,
                  std::int64_t experts, std::int64_t k) {
  constexpr const char* kOp = "npu_moe_gating_top_k";
  TORCH_CHECK_VALUE(input_ids.dim() == 1 && input_ids.size(0) == tokens, kOp,
                    ": expected input_ids of [", tokens, "], a token id for each row of x, got ",
                    input_ids.sizes());
  TORCH_CHECK_VALUE(tid2eid.dim() == 2 && tid2eid.size(1) == k, kOp,
                    ": expected tid2eid of [vocabulary, k = ", k, "], got ", tid2eid.sizes());
  check_indices({kOp, "input_ids"}, input_ids, 0, tid2eid.size(0));
  const at::Tensor chosen = tid2eid.index_select(0, input_ids);
  check_indices({kOp, "tid2eid"}, chosen, 0, experts);
  return chosen.to(at::kLong);
}

void check_logits(const char* op, const at::Tensor& x) {
  TORCH_CHECK_TYPE(x.is_floating_point(), op, ": expected floating x, got ", x.scalar_type());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gating_top_k(
    const at::Tensor& x, std::int64_t k, const std::optional<at::Tensor>& bias,
    const std::optional<at::Tensor>& input_ids, const std::optional<at::Tensor>& tid2eid,
    std::int64_t k_group, std::int64_t group_count, std::int64_t group_select_mode,
    std::int64_t renorm, std::int64_t norm_type, [[maybe_unused]] bool out_flag,
    double routed_scaling_factor, double eps) {
  constexpr const char* kOp = "npu_moe_gating_top_k";
  check_logits(kOp, x);
  TORCH_CHECK_VALUE(x.dim() == 2, kOp, ": expected x of [tokens, experts], got ", x.sizes());
  TORCH_CHECK_VALUE(renorm == 0, kOp, ": expected renorm of 0, got ", renorm);
  TORCH_CHECK_VALUE(group_select_mode == 0 || group_select_mode == 1, kOp,
                    ": expected group_select_mode of 0 (best) or 1 (sum of two best), got ",
                    group_select_mode);
  TORCH_CHECK_VALUE(given(input_ids) == given(tid2eid), kOp,
                    ": expected input_ids and tid2eid both or neither, got one");
  const Score score = score_of(kOp, norm_type);
  const std::int64_t experts = x.size(1);
  const Groups groups{k_group, group_count, group_select_mode == 1};
  check_groups(experts, k, groups);
  const at::Tensor s = scores(widened(x), score);
  at::Tensor chosen;
  if (given(input_ids)) {
    chosen = hashed(*input_ids, *tid2eid, x.size(0), experts, k);
  } else {
    TORCH_CHECK_VALUE(!given(bias) || (bias->dim() == 1 && bias->size(0) == experts), kOp,
                      ": expected bias of [", experts, "], got ",
                      given(bias) ? bias->sizes() : at::IntArrayRef{});
    const at::Tensor biased = given(bias) ? s + widened(*bias) : s;
    chosen = best(group_count > 1 ? limited_to_groups(biased, groups) : biased, k);
  }
  at::Tensor y = at::gather(s, -1, chosen);
  if (score != Score::kSoftmax) y = y / (y.sum(-1, true) + eps);
  return {(y * routed_scaling_factor).to(x.scalar_type()), chosen.to(at::kInt), s.to(at::kFloat)};
}

// With s the scores of the chosen experts and g their gradients: y = f s / (sum s + eps), so
// ds = f (g - sum(g s) / (sum s + eps)) / (sum s + eps); softmax has ds = f g.
at::Tensor gating_top_k_backward(const at::Tensor& x_norm, const at::Tensor& grad_y,
                                 const at::Tensor& expert_idx, std::int64_t renorm,
                                 std::int64_t norm_type, double routed_scaling_factor, double eps) {
  constexpr const char* kOp = "npu_moe_gating_top_k_backward";
  TORCH_CHECK_VALUE(renorm == 0, kOp, ": expected renorm of 0, got ", renorm);
  TORCH_CHECK_VALUE(grad_y.sizes() == expert_idx.sizes(), kOp, ": expected grad_y of ",
                    expert_idx.sizes(), ", the shape of expertIdx, got ", grad_y.sizes());
  check_indices({kOp, "expertIdx"}, expert_idx, 0, x_norm.size(-1));
  const Score score = score_of(kOp, norm_type);
  const at::Tensor chosen = expert_idx.to(at::kLong);
  const at::Tensor s = widened(x_norm);
  at::Tensor grad = widened(grad_y) * routed_scaling_factor;
  if (score != Score::kSoftmax) {
    const at::Tensor picked = at::gather(s, -1, chosen);
    const at::Tensor total = picked.sum(-1, true) + eps;
    grad = (grad - (grad * picked).sum(-1, true) / total) / total;
  }
  const at::Tensor ds = at::zeros_like(s).scatter_(-1, chosen, grad.to(s.scalar_type()));
  at::Tensor dx;
  switch (score) {
    case Score::kSoftmax: dx = s * (ds - (ds * s).sum(-1, true)); break;
    case Score::kSigmoid: dx = ds * s * (1 - s); break;
    // s^2 = log(1 + e^x), so ds/dx = (1 - e^(-s^2)) / (2 s).
    case Score::kSqrtSoftplus: dx = ds * (1 - (-s * s).exp()) / (2 * s); break;
  }
  return dx.to(grad_y.scalar_type());
}

// Softmax and the k best; experts of a finished token are the number of experts, which is none.
std::pair<at::Tensor, at::Tensor> softmax_top_k(const char* op, const at::Tensor& x,
                                                const at::Tensor& softmax, std::int64_t k,
                                                const std::optional<at::Tensor>& finished) {
  check_logits(op, x);
  TORCH_CHECK_VALUE(x.dim() == 2 || x.dim() == 3, op, ": expected x of 2 or 3 axes, got ",
                    x.sizes());
  TORCH_CHECK_VALUE(k >= 1 && k <= x.size(-1), op, ": expected k from 1 to the ", x.size(-1),
                    " experts of x, got ", k);
  const at::Tensor chosen = best(softmax, k);
  at::Tensor y = at::gather(softmax, -1, chosen);
  at::Tensor experts = chosen.to(at::kInt);
  if (given(finished)) {
    TORCH_CHECK_TYPE(finished->scalar_type() == at::kBool, op, ": expected finished of bool, got ",
                     finished->scalar_type());
    TORCH_CHECK_VALUE(
        finished->sizes() == x.sizes().slice(0, static_cast<std::size_t>(x.dim() - 1)), op,
        ": expected finished of the shape of x without its last axis, got ", finished->sizes());
    experts = experts.masked_fill(finished->unsqueeze(-1), x.size(-1));
  }
  return {y, experts};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gating_top_k_softmax(
    const at::Tensor& x, const std::optional<at::Tensor>& finished, std::int64_t k) {
  const at::Tensor softmax = at::softmax(widened(x), -1);
  const auto [y, experts] = softmax_top_k("npu_moe_gating_top_k_softmax", x, softmax, k, finished);
  // Row j T + i for choice j of token i: the order in which npu_moe_init_routing expands tokens.
  const std::int64_t tokens = x.numel() / std::max<std::int64_t>(x.size(-1), 1);
  const at::Tensor rows = at::arange(tokens * k, experts.options()).view({k, tokens}).t();
  return {y.to(x.scalar_type()), experts, rows.reshape(experts.sizes()).contiguous()};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gating_top_k_softmax_v2(
    const at::Tensor& x, std::int64_t k, const std::optional<at::Tensor>& finished,
    std::optional<std::int64_t> renorm, std::optional<bool> output_softmax) {
  constexpr const char* kOp = "npu_moe_gating_top_k_softmax_v2";
  const std::int64_t after = renorm.value_or(0);
  TORCH_CHECK_VALUE(after == 0 || after == 1, kOp, ": expected renorm of 0 or 1, got ", after);
  const at::Tensor wide = widened(x);
  // Softmax keeps the order, so the best logits are the best scores.
  const at::Tensor ranked = after == 1 ? wide : at::softmax(wide, -1);
  const auto [picked, experts] = softmax_top_k(kOp, x, ranked, k, finished);
  const at::Tensor y = after == 1 ? at::softmax(picked, -1) : picked;
  const bool shows = after == 0 && output_softmax.value_or(false);
  const at::Tensor shown =
      shows ? ranked.to(at::kFloat) : at::empty({0}, x.options().dtype(at::kFloat));
  return {y.to(x.scalar_type()), experts, shown};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&gating_top_k>(m, "npu_moe_gating_top_k");
  composed_kernel<&gating_top_k_backward>(m, "npu_moe_gating_top_k_backward");
  derivative(m, "npu_moe_gating_top_k",
             "x: npu_moe_gating_top_k_backward(result2, grad, result1, renorm, norm_type, "
             "routed_scaling_factor, eps)");
  composed_kernel<&gating_top_k_softmax>(m, "npu_moe_gating_top_k_softmax");
  composed_kernel<&gating_top_k_softmax_v2>(m, "npu_moe_gating_top_k_softmax_v2");
}

}  // namespace
}  // namespace npu_sim::ops
