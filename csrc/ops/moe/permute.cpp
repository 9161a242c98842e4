// npu_moe_token_permute and its inverse: tokens in the order of their experts, and back.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"
#include "ops/moe/moved_rows.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: the order of the choices is sorted, then rows move.
model::Work sort_choices(const aten::Call& call) {
  return sorted_choices(aten::tensor_at(call, 1));
}
model::Work move_tokens(const aten::Call& call) {
  return moved_rows(
      call, {.table = aten::tensor_at(call, 0), .items = aten::size_along(call.result(), 0)});
}
// Every row of the result gathers the rows of its k choices.
model::Work gather_choices(const aten::Call& call) {
  return moved_rows(call, {.table = aten::tensor_at(call, 0),
                           .items = aten::elements_of(aten::tensor_at(call, 1)),
                           .one_by_one = true});
}

// The gradient of a permutation reads the gradient at argument 1 by the places at argument 3.
model::Work gather_gradients(const aten::Call& call) {
  return moved_rows(call, {.table = aten::tensor_at(call, 1),
                           .items = aten::elements_of(aten::tensor_at(call, 3)),
                           .one_by_one = true});
}
// The gradient of an unpermutation copies each token's row to the places of its choices,
// which the next argument says.
template <std::size_t grad>
model::Work scatter_gradients(const aten::Call& call) {
  return moved_rows(call, {.table = aten::tensor_at(call, grad),
                           .items = aten::elements_of(aten::tensor_at(call, grad + 1))});
}

constexpr aten::Describer kThenMoves[] = {move_tokens};
constexpr aten::Entry kEntries[] = {
    {"npu_moe_token_permute", sort_choices, kThenMoves},
    {"npu_moe_token_permute_grad", gather_gradients},
    {"npu_moe_token_permute_grad_v2", gather_choices},
    {"npu_moe_token_unpermute", gather_choices},
    {"_npu_moe_token_unpermute", gather_choices},
    {"npu_moe_token_unpermute_grad", scatter_gradients<1>},
    {"npu_moe_token_unpermute_grad_v2", scatter_gradients<0>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// The card's kernels refuse it too. Source: README of moe_token_permute and moe_token_unpermute in
// CANN's ops-transformer.
void refuse_padded(const char* op, bool padded_mode) {
  TORCH_CHECK_VALUE(!padded_mode, op, ": expected padded_mode of False, got True; ",
                    "npu_moe_token_permute_with_routing_map pads with drop_and_pad=True");
}

std::tuple<at::Tensor, at::Tensor> token_permute(const at::Tensor& tokens,
                                                 const at::Tensor& indices,
                                                 std::optional<std::int64_t> num_out_tokens,
                                                 bool padded_mode) {
  constexpr const char* kOp = "npu_moe_token_permute";
  refuse_padded(kOp, padded_mode);
  TORCH_CHECK_VALUE(tokens.dim() == 2, kOp, ": expected tokens of [tokens, hidden], got ",
                    tokens.sizes());
  TORCH_CHECK_VALUE((indices.dim() == 1 || indices.dim() == 2) && indices.size(0) == tokens.size(0),
                    kOp, ": expected indices of [", tokens.size(0), "] or [", tokens.size(0),
                    ", k], got ", indices.sizes());
  TORCH_CHECK_TYPE(indices.scalar_type() == at::kInt || indices.scalar_type() == at::kLong, kOp,
                   ": expected indices of int32 or int64, got ", indices.scalar_type());
  const std::int64_t k = indices.dim() == 1 ? 1 : indices.size(1);
  const std::int64_t all = indices.numel();
  const std::int64_t asked = num_out_tokens.value_or(0);
  // A negative number drops that many, as a slice would.
  const std::int64_t rows = asked > 0 ? std::min(asked, all) : all + asked;
  TORCH_CHECK_VALUE(rows >= 0, kOp, ": expected num_out_tokens of at least -", all, ", got ",
                    asked);
  const at::Tensor order = stable_order(indices.reshape({-1}));
  const at::Tensor source = order.narrow(0, 0, rows).floor_divide(std::max<std::int64_t>(k, 1));
  return {tokens.index_select(0, source), inverse_order(order).to(at::kInt)};
}

// Rows of `permuted` at `places`; zeros for a place past its end, whose token was dropped.
at::Tensor rows_at(const at::Tensor& permuted, const at::Tensor& places) {
  const std::int64_t rows = permuted.size(0);
  if (rows == 0) return at::zeros({places.numel(), permuted.size(1)}, permuted.options());
  const at::Tensor there = places < rows;
  const at::Tensor found = permuted.index_select(0, places.clamp_max(rows - 1));
  return at::where(there.unsqueeze(-1), found, 0);
}

struct Choices {
  std::int64_t tokens;
  std::int64_t k;
};

Choices choices_of(const char* op, const at::Tensor& sorted_indices,
                   const std::optional<at::Tensor>& probs) {
  TORCH_CHECK_VALUE(sorted_indices.dim() == 1, op, ": expected sorted_indices of one axis, got ",
                    sorted_indices.sizes());
  TORCH_CHECK_VALUE(
      !given(probs) || (probs->dim() == 2 && probs->numel() == sorted_indices.numel()), op,
      ": expected probs of [tokens, k] with ", sorted_indices.numel(),
      " elements, one for each of sorted_indices, got ",
      given(probs) ? probs->sizes() : at::IntArrayRef{});
  const std::int64_t k = given(probs) ? probs->size(1) : 1;
  return {k == 0 ? 0 : sorted_indices.numel() / k, k};
}

at::Tensor token_permute_grad_v2(const at::Tensor& grad_permuted_tokens,
                                 const at::Tensor& sorted_indices, std::int64_t tokens,
                                 at::ScalarType dtype, std::int64_t k, bool padded_mode) {
  constexpr const char* kOp = "npu_moe_token_permute_grad_v2";
  refuse_padded(kOp, padded_mode);
  TORCH_CHECK_VALUE(grad_permuted_tokens.dim() == 2 && sorted_indices.numel() == tokens * k, kOp,
                    ": expected grad_permuted_tokens of two axes and ", tokens * k,
                    " sorted_indices, got ", grad_permuted_tokens.sizes(), " and ",
                    sorted_indices.sizes());
  check_indices({kOp, "sorted_indices"}, sorted_indices, 0, sorted_indices.numel());
  const at::Tensor rows = rows_at(widened(grad_permuted_tokens), sorted_indices);
  return rows.view({tokens, k, rows.size(1)}).sum(1).to(dtype);
}

at::Tensor token_permute_grad(const at::Tensor& tokens, const at::Tensor& grad_permuted_tokens,
                              const at::Tensor& indices, const at::Tensor& sorted_indices,
                              bool padded_mode) {
  return token_permute_grad_v2(grad_permuted_tokens, sorted_indices, tokens.size(0),
                               tokens.scalar_type(), indices.dim() == 1 ? 1 : indices.size(1),
                               padded_mode);
}

at::Tensor token_unpermute(const at::Tensor& permuted_tokens, const at::Tensor& sorted_indices,
                           const std::optional<at::Tensor>& probs, bool padded_mode,
                           [[maybe_unused]] at::OptionalIntArrayRef restore_shape) {
  constexpr const char* kOp = "npu_moe_token_unpermute";
  refuse_padded(kOp, padded_mode);
  TORCH_CHECK_VALUE(permuted_tokens.dim() == 2, kOp, ": expected permuted_tokens of two axes, got ",
                    permuted_tokens.sizes());
  const Choices choices = choices_of(kOp, sorted_indices, probs);
  check_indices({kOp, "sorted_indices"}, sorted_indices, 0, sorted_indices.numel());
  const at::Tensor rows = rows_at(widened(permuted_tokens), sorted_indices);
  at::Tensor chosen = rows.view({choices.tokens, choices.k, rows.size(1)});
  if (given(probs)) chosen = chosen * widened(*probs).unsqueeze(-1);
  return chosen.sum(1).to(permuted_tokens.scalar_type());
}

// What autograd calls: the second result is what the gradient of probs needs.
std::tuple<at::Tensor, at::Tensor> token_unpermute_for_backward(
    const at::Tensor& permuted_tokens, const at::Tensor& sorted_indices,
    const std::optional<at::Tensor>& probs, bool padded_mode,
    at::OptionalIntArrayRef restore_shape) {
  return {token_unpermute(permuted_tokens, sorted_indices, probs, padded_mode, restore_shape),
          given(probs) ? permuted_tokens.clone() : at::empty({0}, permuted_tokens.options())};
}

std::tuple<at::Tensor, at::Tensor> token_unpermute_grad_v2(
    const at::Tensor& grad_unpermuted_tokens, const at::Tensor& sorted_indices, std::int64_t rows,
    at::ScalarType dtype, const std::optional<at::Tensor>& probs, bool padded_mode,
    [[maybe_unused]] at::OptionalIntArrayRef restore_shape,
    const std::optional<at::Tensor>& permuted_tokens) {
  constexpr const char* kOp = "npu_moe_token_unpermute_grad_v2";
  refuse_padded(kOp, padded_mode);
  const Choices choices = choices_of(kOp, sorted_indices, probs);
  TORCH_CHECK_VALUE(
      grad_unpermuted_tokens.dim() == 2 && grad_unpermuted_tokens.size(0) == choices.tokens, kOp,
      ": expected grad_unpermuted_tokens of [", choices.tokens, ", hidden], got ",
      grad_unpermuted_tokens.sizes());
  TORCH_CHECK_VALUE(!given(probs) || given(permuted_tokens), kOp,
                    ": expected permuted_tokens, which the gradient of probs needs, got none");
  check_indices({kOp, "sorted_indices"}, sorted_indices, 0, sorted_indices.numel());
  const at::Tensor grad = widened(grad_unpermuted_tokens).unsqueeze(1);
  const std::int64_t hidden = grad.size(-1);
  at::Tensor each = given(probs) ? grad * widened(*probs).unsqueeze(-1) : grad;
  // Every place holds one choice, so rows are put, not added; dropped ones land past the end.
  const at::Tensor all =
      at::zeros({std::max(rows, sorted_indices.numel()), hidden}, grad.options());
  const at::Tensor placed =
      all.index_copy(0, sorted_indices.to(at::kLong),
                     each.expand({choices.tokens, choices.k, hidden}).reshape({-1, hidden}));
  at::Tensor grad_probs = at::empty({0}, grad_unpermuted_tokens.options());
  if (given(probs)) {
    const at::Tensor chosen = rows_at(widened(*permuted_tokens), sorted_indices)
                                  .view({choices.tokens, choices.k, hidden});
    grad_probs = (chosen * grad).sum(-1).to(probs->scalar_type());
  }
  return {placed.narrow(0, 0, rows).to(dtype), grad_probs};
}

std::tuple<at::Tensor, at::Tensor> token_unpermute_grad(const at::Tensor& permuted_tokens,
                                                        const at::Tensor& grad_unpermuted_tokens,
                                                        const at::Tensor& sorted_indices,
                                                        const std::optional<at::Tensor>& probs,
                                                        bool padded_mode,
                                                        at::OptionalIntArrayRef restore_shape) {
  return token_unpermute_grad_v2(grad_unpermuted_tokens, sorted_indices, permuted_tokens.size(0),
                                 permuted_tokens.scalar_type(), probs, padded_mode, restore_shape,
                                 permuted_tokens);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&token_permute>(m, "npu_moe_token_permute");
  composed_kernel<&token_permute_grad>(m, "npu_moe_token_permute_grad");
  composed_kernel<&token_permute_grad_v2>(m, "npu_moe_token_permute_grad_v2");
  // op-plugin's own formulas read sizes of arguments; these reach the same gradients by the first
  // forms of the backward operators.
  derivative(m, "npu_moe_token_permute",
             "tokens: npu_moe_token_permute_grad(tokens, grad, indices, result1, padded_mode)");
  composed_kernel<&token_unpermute>(m, "npu_moe_token_unpermute");
  composed_kernel<&token_unpermute_for_backward>(m, "_npu_moe_token_unpermute");
  composed_kernel<&token_unpermute_grad>(m, "npu_moe_token_unpermute_grad");
  composed_kernel<&token_unpermute_grad_v2>(m, "npu_moe_token_unpermute_grad_v2");
  constexpr const char* kUnpermuted =
      "permuted_tokens, probs: npu_moe_token_unpermute_grad(permuted_tokens, grad, "
      "sorted_indices, probs, padded_mode, restore_shape)";
  derivative(m, "npu_moe_token_unpermute", kUnpermuted);
  derivative(m, "_npu_moe_token_unpermute", kUnpermuted);
}

}  // namespace
}  // namespace npu_sim::ops
