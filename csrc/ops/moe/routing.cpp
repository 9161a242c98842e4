// What follows a routing: counts of rows, rows of all ranks by expert, and results back.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"
#include "ops/moe/moved_rows.h"
#include "ops/moe/routed.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work
// Every core adds up the whole table of ranks by experts to find its places.
model::Work move_ranks(const aten::Call& call) {
  const at::Tensor& tokens = aten::tensor_at(call, 0);
  return moved_rows(call, {.table = tokens,
                           .items = aten::size_along(tokens, 0),
                           .scalars = aten::elements_of(aten::tensor_at(call, 1))});
}
model::Work gather_results(const aten::Call& call) {
  return moved_rows(call, {.table = aten::tensor_at(call, 0),
                           .items = aten::elements_of(aten::tensor_at(call, 5)),
                           .one_by_one = true});
}
// One binary search an expert: each step reads one number.
model::Work search(const aten::Call& call) {
  const at::Tensor& sorted = aten::tensor_at(call, 0);
  const std::int64_t experts = aten::elements_of(call.result());
  std::int64_t steps = 1;
  while ((std::int64_t{1} << steps) < sorted.numel()) ++steps;
  const base::Bytes item{static_cast<std::int64_t>(sorted.element_size())};
  return model::GatherWork{.items = experts * steps,
                           .item = item,
                           .written = aten::bytes_of(call.result()),
                           .read = item * (experts * steps),
                           .table = aten::bytes_of(sorted),
                           .one_by_one = true};
}

constexpr aten::Entry kEntries[] = {
    {"npu_moe_compute_expert_tokens", search},
    {"npu_moe_re_routing", move_ranks},
    {"npu_moe_finalize_routing", gather_results},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
at::Tensor compute_expert_tokens(const at::Tensor& sorted, std::int64_t num_expert) {
  constexpr const char* kOp = "npu_moe_compute_expert_tokens";
  TORCH_CHECK_VALUE(sorted.dim() == 1, kOp,
                    ": expected sorted_expert_for_source_row of one axis, got ", sorted.sizes());
  TORCH_CHECK_TYPE(sorted.scalar_type() == at::kInt, kOp,
                   ": expected sorted_expert_for_source_row of int32, got ", sorted.scalar_type());
  TORCH_CHECK_VALUE(num_expert >= 1, kOp, ": expected num_expert of 1 or more, got ", num_expert);
  const at::Tensor experts = at::arange(num_expert, sorted.options());
  return at::searchsorted(sorted.contiguous(), experts, /*out_int32=*/true, /*right=*/true);
}

// Tokens lie by rank, then expert; they come out by expert, then rank.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> re_routing(
    const at::Tensor& tokens, const at::Tensor& per_rank,
    const std::optional<at::Tensor>& per_token_scales, std::int64_t expert_token_num_type,
    std::int64_t idx_type, [[maybe_unused]] std::optional<std::int64_t> tokens_dtype) {
  constexpr const char* kOp = "npu_moe_re_routing";
  TORCH_CHECK_VALUE(tokens.dim() == 2, kOp, ": expected tokens of [rows, hidden], got ",
                    tokens.sizes());
  TORCH_CHECK_VALUE(per_rank.dim() == 2, kOp,
                    ": expected expert_token_num_per_rank of [ranks, experts], got ",
                    per_rank.sizes());
  TORCH_CHECK_VALUE(expert_token_num_type == 1, kOp,
                    ": expected expert_token_num_type of 1 (counts), got ", expert_token_num_type);
  TORCH_CHECK_VALUE(idx_type == 0 || idx_type == 1, kOp, ": expected idx_type of 0 or 1, got ",
                    idx_type);
  const std::int64_t rows = tokens.size(0);
  TORCH_CHECK_VALUE(!given(per_token_scales) || per_token_scales->size(0) == rows, kOp,
                    ": expected per_token_scales of ", rows, " rows, got ",
                    given(per_token_scales) ? per_token_scales->sizes() : at::IntArrayRef{});
  at::Tensor order = at::empty({rows}, per_rank.options().dtype(at::kLong));
  if (!tokens.is_meta()) {
    check_indices({kOp, "expert_token_num_per_rank"}, per_rank, 0, rows + 1);
    TORCH_CHECK_VALUE(per_rank.sum().item<std::int64_t>() == rows, kOp,
                      ": expected expert_token_num_per_rank that adds up to the ", rows,
                      " rows of tokens, got ", per_rank.sum().item<std::int64_t>());
    const at::Tensor experts =
        at::arange(per_rank.size(1), order.options()).repeat({per_rank.size(0)});
    order = stable_order(experts.repeat_interleave(per_rank.reshape({-1}).to(at::kLong)));
  }
  const at::Tensor scales = given(per_token_scales)
                                ? per_token_scales->index_select(0, order)
                                : at::zeros({rows}, tokens.options().dtype(at::kFloat));
  const at::Tensor index = idx_type == 0 ? order : inverse_order(order);
  return {tokens.index_select(0, order), scales, index.to(at::kInt),
          per_rank.sum(0).to(per_rank.scalar_type())};
}

// out[i] = skip1[i] + skip2[i] + sum_j scales[i, j] (rows[place of choice j] + bias[expert of j])
at::Tensor finalize_routing(const at::Tensor& expanded_rows, const std::optional<at::Tensor>& skip1,
                            const std::optional<at::Tensor>& skip2,
                            const std::optional<at::Tensor>& bias,
                            const std::optional<at::Tensor>& scales, const at::Tensor& places,
                            const std::optional<at::Tensor>& experts,
                            std::optional<std::int64_t> drop_pad_mode,
                            std::optional<std::int64_t> top_k) {
  constexpr const char* kOp = "npu_moe_finalize_routing";
  const std::int64_t mode = drop_pad_mode.value_or(0);
  TORCH_CHECK_VALUE(mode >= 0 && mode <= 3, kOp, ": expected drop_pad_mode from 0 to 3, got ",
                    mode);
  const std::int64_t axes = mode % 2 == 1 ? 3 : 2;
  TORCH_CHECK_VALUE(expanded_rows.dim() == axes, kOp, ": expected expanded_permuted_rows of ", axes,
                    " axes for drop_pad_mode ", mode, ", got ", expanded_rows.sizes());
  TORCH_CHECK_VALUE(places.dim() == 1, kOp, ": expected expanded_src_to_dst_row of one axis, got ",
                    places.sizes());
  const std::int64_t k =
      given(scales) ? scales->size(1) : std::max<std::int64_t>(top_k.value_or(1), 1);
  TORCH_CHECK_VALUE(k > 0 && places.numel() % k == 0, kOp, ": expected k = ", k,
                    " places a token in expanded_src_to_dst_row, got ", places.numel());
  const std::int64_t tokens = places.numel() / k;
  const std::int64_t hidden = expanded_rows.size(-1);
  const at::Tensor rows = widened(expanded_rows.reshape({-1, hidden}));
  check_indices({kOp, "expanded_src_to_dst_row"}, places, -1, rows.size(0));
  TORCH_CHECK_VALUE(!given(bias) || given(experts), kOp,
                    ": expected export_for_source_row with bias, got none");
  // Modes 0 and 1 count down the columns of [tokens, k], 2 and 3 along its rows.
  const at::Tensor place = mode < 2 ? places.view({k, tokens}).t() : places.view({tokens, k});
  at::Tensor chosen =
      expanded(rows, place.reshape({-1}).to(at::kLong), 1).view({tokens, k, hidden});
  if (given(bias)) {
    check_indices({kOp, "export_for_source_row"}, *experts, 0, bias->size(0));
    chosen = chosen + widened(*bias).index_select(0, experts->reshape({-1})).view(chosen.sizes());
  }
  if (given(scales)) chosen = chosen * widened(*scales).unsqueeze(-1);
  at::Tensor out = chosen.sum(1);
  for (const std::optional<at::Tensor>* skip : {&skip1, &skip2}) {
    if (!given(*skip)) continue;
    TORCH_CHECK_VALUE((*skip)->sizes() == out.sizes(), kOp, ": expected skip1 and skip2 of ",
                      out.sizes(), ", got ", (*skip)->sizes());
    out = out + widened(**skip);
  }
  return out.to(expanded_rows.scalar_type());
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&compute_expert_tokens>(m, "npu_moe_compute_expert_tokens");
  composed_kernel<&re_routing>(m, "npu_moe_re_routing");
  composed_kernel<&finalize_routing>(m, "npu_moe_finalize_routing");
}

}  // namespace
}  // namespace npu_sim::ops
