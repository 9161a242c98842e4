// npu_moe_distribute_combine and its forms: the experts' rows back to their tokens, weighted and
// added.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>

#include <algorithm>

#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"
#include "ops/moe/distribute.h"
#include "ops/moe/moved_rows.h"
#include "ops/moe/routed.h"
#include "ops/norm/rms_norm.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: each token gathers the rows of its choices; the norm works on what is on the chip.
model::Work gather_rows(const aten::Call& call) {
  return moved_rows(call, {.table = aten::tensor_at(call, 0),
                           .items = aten::elements_of(aten::tensor_at(call, 1)),
                           .one_by_one = true});
}
constexpr aten::Entry kEntries[] = {
    {"npu_moe_distribute_combine", gather_rows},
    {"npu_moe_distribute_combine_add_rms_norm", gather_rows},
    {"npu_moe_distribute_combine_v2", gather_rows},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// What experts that no card computes need.
struct SpecialExperts {
  const MaybeTensor& ori_x;    // [tokens, hidden]
  const MaybeTensor& alpha_1;  // [const experts, hidden]
  const MaybeTensor& alpha_2;
  const MaybeTensor& v;
};

struct Combine {
  Distribution distribution;
  const at::Tensor& expand_x;
  TokenChoices choices;
  const at::Tensor& info;    // what dispatch says of each row or choice
  const at::Tensor& counts;  // ends of the experts' rows
  const at::Tensor& weights;
  const MaybeTensor& shared_expert_x;
};

void check_combine(const Combine& combine, std::int64_t comm_quant_mode) {
  const char* const op = combine.distribution.op;
  check_distribution(combine.distribution);
  const at::Tensor& rows = combine.expand_x;
  const at::Tensor& ids = combine.choices.expert_ids;
  TORCH_CHECK_VALUE(rows.dim() == 2, op, ": expected expand_x of [rows, hidden], got ",
                    rows.sizes());
  TORCH_CHECK_TYPE(rows.scalar_type() == at::kHalf || rows.scalar_type() == at::kBFloat16, op,
                   ": expected expand_x of float16 or bfloat16, got ", rows.scalar_type());
  check_token_choices(combine.distribution, combine.choices);
  TORCH_CHECK_VALUE(combine.weights.sizes() == ids.sizes(), op, ": expected expert_scales of ",
                    ids.sizes(), ", got ", combine.weights.sizes());
  TORCH_CHECK_TYPE(combine.weights.scalar_type() == at::kFloat, op,
                   ": expected expert_scales of float32, got ", combine.weights.scalar_type());
  const std::int64_t experts = combine.distribution.moe_expert_num;
  TORCH_CHECK_VALUE(combine.counts.dim() == 1 && combine.counts.size(0) == experts, op,
                    ": expected ep_send_counts of [", experts, "], got ", combine.counts.sizes());
  check_indices({op, "ep_send_counts"}, combine.counts, 0, rows.size(0) + 1);
  const MaybeTensor& shared = combine.shared_expert_x;
  TORCH_CHECK_VALUE(!given(shared) || shared->numel() == ids.size(0) * rows.size(1), op,
                    ": expected shared_expert_x of [", ids.size(0), ", ", rows.size(1), "], got ",
                    given(shared) ? shared->sizes() : at::IntArrayRef{});
  TORCH_CHECK_NOT_IMPLEMENTED(comm_quant_mode == 0, op, ": comm_quant_mode ", comm_quant_mode,
                              " is not built yet; use 0");
}

void check_special(const Combine& combine, const SpecialExperts& special) {
  const Distribution& distribution = combine.distribution;
  const bool reads_x = distribution.copy_experts > 0 || distribution.const_experts > 0;
  const std::int64_t hidden = combine.expand_x.size(1);
  const std::int64_t tokens = combine.choices.expert_ids.size(0);
  const auto check = [&](const char* argument, const MaybeTensor& tensor, std::int64_t rows) {
    TORCH_CHECK_VALUE(
        given(tensor) && tensor->dim() == 2 && tensor->size(0) == rows && tensor->size(1) == hidden,
        distribution.op, ": expected ", argument, " of [", rows, ", ", hidden,
        "] for copy or constant experts, got ",
        given(tensor) ? tensor->sizes() : at::IntArrayRef{});
  };
  if (reads_x) check("ori_x", special.ori_x, tokens);
  if (distribution.const_experts == 0) return;
  check("const_expert_alpha_1", special.alpha_1, distribution.const_experts);
  check("const_expert_alpha_2", special.alpha_2, distribution.const_experts);
  check("const_expert_v", special.v, distribution.const_experts);
}

// The row of each choice, -1 for none, from the triples of the second dispatch.
at::Tensor places_by_triples(const Combine& combine) {
  const char* const op = combine.distribution.op;
  const at::Tensor& ids = combine.choices.expert_ids;
  const at::Tensor none = at::full({ids.numel()}, -1, ids.options().dtype(at::kLong));
  if (none.is_meta()) return none;
  const auto rows = combine.counts.select(0, -1).item<std::int64_t>();
  TORCH_CHECK_VALUE(combine.info.numel() >= 3 * rows, op,
                    ": expected what npu_moe_distribute_dispatch_v2 gives for combine, 3 integers "
                    "or more a row, got ",
                    combine.info.sizes(), " for ", rows, " rows");
  const at::Tensor each = combine.info.reshape({-1}).narrow(0, 0, 3 * rows).view({rows, 3});
  check_indices({op, "token of a row"}, each.select(1, 1), 0, ids.size(0));
  check_indices({op, "choice of a row"}, each.select(1, 2), 0, ids.size(1));
  const at::Tensor choice = each.select(1, 1).to(at::kLong) * ids.size(1) + each.select(1, 2);
  return none.scatter(0, choice, at::arange(rows, none.options()));
}

// The same from the numbers of the first one.
at::Tensor places_by_numbers(const Combine& combine) {
  const char* const op = combine.distribution.op;
  const at::Tensor& ids = combine.choices.expert_ids;
  TORCH_CHECK_VALUE(combine.info.numel() == ids.numel(), op, ": expected expand_idx of [",
                    ids.numel(), "], got ", combine.info.sizes());
  const at::Tensor number = combine.info.reshape({-1}).to(at::kLong);
  const at::Tensor starts = at::constant_pad_nd(combine.counts.to(at::kLong), {1, 0});
  const at::Tensor place = starts.index_select(0, ids.reshape({-1})) + number;
  return at::where(number >= 0, place, -1);
}

// Whether each choice is one of `count` experts from `first` on, as its weight or 0.
at::Tensor weights_of(const Combine& combine, std::int64_t first, std::int64_t count) {
  const at::Tensor& ids = combine.choices.expert_ids;
  const at::Tensor chosen =
      (ids >= first) & (ids < first + count) & active_choices(combine.choices);
  return at::where(chosen, combine.weights, 0.0);
}

// What the experts that no card computes contribute: copies and constants.
at::Tensor with_special(const Combine& combine, const SpecialExperts& special,
                        const at::Tensor& sum) {
  const Distribution& distribution = combine.distribution;
  const std::int64_t copies = distribution.moe_expert_num + distribution.zero_experts;
  const std::int64_t constants = copies + distribution.copy_experts;
  at::Tensor result = sum;
  if (distribution.copy_experts > 0) {
    const at::Tensor weight = weights_of(combine, copies, distribution.copy_experts).sum(1, true);
    result = result + weight * widened(*special.ori_x);
  }
  if (distribution.const_experts == 0) return result;
  const at::Tensor weight = weights_of(combine, constants, distribution.const_experts);
  const at::Tensor expert = (combine.choices.expert_ids - constants).clamp_min(0);
  const at::Tensor constant = widened(*special.alpha_2) * widened(*special.v);
  for (std::int64_t choice = 0; choice < expert.size(1); ++choice) {
    const at::Tensor index = expert.select(1, choice);
    const at::Tensor value =
        widened(*special.alpha_1).index_select(0, index) * widened(*special.ori_x) +
        constant.index_select(0, index);
    result = result + weight.select(1, choice).unsqueeze(1) * value;
  }
  return result;
}

// [tokens, hidden] in fp32, of the rows at `place`, -1 for a choice without one.
at::Tensor combined(const Combine& combine, const SpecialExperts& special,
                    const at::Tensor& place) {
  const at::Tensor& ids = combine.choices.expert_ids;
  const std::int64_t held = combine.expand_x.size(0);
  const at::Tensor rows =
      all_to_all(expert_group(combine.distribution), combine.expand_x, {held}, {held});
  check_indices({combine.distribution.op, "row of a choice"}, place, -1, held);
  const at::Tensor chosen =
      expanded(widened(rows), place, 1).view({ids.size(0), ids.size(1), rows.size(1)});
  at::Tensor sum = (chosen * combine.weights.unsqueeze(-1)).sum(1);
  sum = with_special(combine, special, sum);
  if (!given(combine.shared_expert_x)) return sum;
  return sum + widened(*combine.shared_expert_x).reshape(sum.sizes());
}

at::Tensor distribute_combine(
    const at::Tensor& expand_x, const at::Tensor& expert_ids, const at::Tensor& expand_idx,
    const at::Tensor& ep_send_counts, const at::Tensor& expert_scales,
    [[maybe_unused]] c10::string_view group_ep, std::int64_t ep_world_size, std::int64_t ep_rank_id,
    std::int64_t moe_expert_num, [[maybe_unused]] const MaybeTensor& tp_send_counts,
    const MaybeTensor& x_active_mask, const MaybeTensor& activation_scale,
    const MaybeTensor& weight_scale, const MaybeTensor& group_list,
    [[maybe_unused]] const MaybeTensor& expand_scales, const MaybeTensor& shared_expert_x,
    [[maybe_unused]] c10::string_view group_tp, std::int64_t tp_world_size,
    [[maybe_unused]] std::int64_t tp_rank_id, std::int64_t expert_shard_type,
    std::int64_t shared_expert_num, std::int64_t shared_expert_rank_num, std::int64_t global_bs,
    [[maybe_unused]] std::int64_t out_dtype, std::int64_t comm_quant_mode,
    [[maybe_unused]] std::int64_t group_list_type) {
  constexpr const char* kOp = "npu_moe_distribute_combine";
  refuse_given(kOp, "activation_scale", activation_scale);
  refuse_given(kOp, "weight_scale", weight_scale);
  refuse_given(kOp, "group_list", group_list);
  const Combine combine{.distribution = {.op = kOp,
                                         .ep_world_size = ep_world_size,
                                         .ep_rank_id = ep_rank_id,
                                         .moe_expert_num = moe_expert_num,
                                         .tp_world_size = tp_world_size,
                                         .expert_shard_type = expert_shard_type,
                                         .shared_expert_num = shared_expert_num,
                                         .shared_expert_rank_num = shared_expert_rank_num,
                                         .global_bs = global_bs,
                                         .comm_alg = {}},
                        .expand_x = expand_x,
                        .choices = {expert_ids, x_active_mask},
                        .info = expand_idx,
                        .counts = ep_send_counts,
                        .weights = expert_scales,
                        .shared_expert_x = shared_expert_x};
  check_combine(combine, comm_quant_mode);
  const MaybeTensor none;
  const at::Tensor sum = combined(combine, {none, none, none, none}, places_by_numbers(combine));
  return sum.to(expand_x.scalar_type());
}

// The arguments that the two later forms share, in fp32.
at::Tensor combined_by_triples(const Combine& combine, const SpecialExperts& special,
                               std::int64_t comm_quant_mode) {
  check_combine(combine, comm_quant_mode);
  check_special(combine, special);
  return combined(combine, special, places_by_triples(combine));
}

at::Tensor distribute_combine_v2(
    const at::Tensor& expand_x, const at::Tensor& expert_ids,
    const at::Tensor& assist_info_for_combine, const at::Tensor& ep_send_counts,
    const at::Tensor& expert_scales, [[maybe_unused]] c10::string_view group_ep,
    std::int64_t ep_world_size, std::int64_t ep_rank_id, std::int64_t moe_expert_num,
    [[maybe_unused]] const MaybeTensor& tp_send_counts, const MaybeTensor& x_active_mask,
    [[maybe_unused]] const MaybeTensor& expand_scales, const MaybeTensor& shared_expert_x,
    const MaybeTensor& elastic_info, const MaybeTensor& ori_x,
    const MaybeTensor& const_expert_alpha_1, const MaybeTensor& const_expert_alpha_2,
    const MaybeTensor& const_expert_v, const MaybeTensor& performance_info,
    [[maybe_unused]] c10::string_view group_tp, std::int64_t tp_world_size,
    [[maybe_unused]] std::int64_t tp_rank_id, std::int64_t expert_shard_type,
    std::int64_t shared_expert_num, std::int64_t shared_expert_rank_num, std::int64_t global_bs,
    std::int64_t comm_quant_mode, c10::string_view comm_alg, std::int64_t zero_expert_num,
    std::int64_t copy_expert_num, std::int64_t const_expert_num) {
  constexpr const char* kOp = "npu_moe_distribute_combine_v2";
  refuse_given(kOp, "elastic_info", elastic_info);
  refuse_given(kOp, "performance_info", performance_info);
  const Combine combine{.distribution = {.op = kOp,
                                         .ep_world_size = ep_world_size,
                                         .ep_rank_id = ep_rank_id,
                                         .moe_expert_num = moe_expert_num,
                                         .tp_world_size = tp_world_size,
                                         .expert_shard_type = expert_shard_type,
                                         .shared_expert_num = shared_expert_num,
                                         .shared_expert_rank_num = shared_expert_rank_num,
                                         .global_bs = global_bs,
                                         .comm_alg = comm_alg,
                                         .zero_experts = zero_expert_num,
                                         .copy_experts = copy_expert_num,
                                         .const_experts = const_expert_num},
                        .expand_x = expand_x,
                        .choices = {expert_ids, x_active_mask},
                        .info = assist_info_for_combine,
                        .counts = ep_send_counts,
                        .weights = expert_scales,
                        .shared_expert_x = shared_expert_x};
  const SpecialExperts special{ori_x, const_expert_alpha_1, const_expert_alpha_2, const_expert_v};
  return combined_by_triples(combine, special, comm_quant_mode).to(expand_x.scalar_type());
}

// y = rms_norm(x) gamma with x = combined + residual_x, which is not rounded in between.
std::tuple<at::Tensor, at::Tensor, at::Tensor> distribute_combine_add_rms_norm(
    const at::Tensor& expand_x, const at::Tensor& expert_ids, const at::Tensor& expand_idx,
    const at::Tensor& ep_send_counts, const at::Tensor& expert_scales, const at::Tensor& residual_x,
    const at::Tensor& gamma, [[maybe_unused]] c10::string_view group_ep, std::int64_t ep_world_size,
    std::int64_t ep_rank_id, std::int64_t moe_expert_num,
    [[maybe_unused]] const MaybeTensor& tp_send_counts, const MaybeTensor& x_active_mask,
    const MaybeTensor& activation_scale, const MaybeTensor& weight_scale,
    const MaybeTensor& group_list, [[maybe_unused]] const MaybeTensor& expand_scales,
    const MaybeTensor& shared_expert_x, const MaybeTensor& elastic_info, const MaybeTensor& ori_x,
    const MaybeTensor& const_expert_alpha_1, const MaybeTensor& const_expert_alpha_2,
    const MaybeTensor& const_expert_v, [[maybe_unused]] c10::string_view group_tp,
    std::int64_t tp_world_size, [[maybe_unused]] std::int64_t tp_rank_id,
    std::int64_t expert_shard_type, std::int64_t shared_expert_num,
    std::int64_t shared_expert_rank_num, std::int64_t global_bs,
    [[maybe_unused]] std::int64_t out_dtype, std::int64_t comm_quant_mode,
    [[maybe_unused]] std::int64_t group_list_type, c10::string_view comm_alg, double norm_eps,
    std::int64_t zero_expert_num, std::int64_t copy_expert_num, std::int64_t const_expert_num) {
  constexpr const char* kOp = "npu_moe_distribute_combine_add_rms_norm";
  refuse_given(kOp, "activation_scale", activation_scale);
  refuse_given(kOp, "weight_scale", weight_scale);
  refuse_given(kOp, "group_list", group_list);
  refuse_given(kOp, "elastic_info", elastic_info);
  const Combine combine{.distribution = {.op = kOp,
                                         .ep_world_size = ep_world_size,
                                         .ep_rank_id = ep_rank_id,
                                         .moe_expert_num = moe_expert_num,
                                         .tp_world_size = tp_world_size,
                                         .expert_shard_type = expert_shard_type,
                                         .shared_expert_num = shared_expert_num,
                                         .shared_expert_rank_num = shared_expert_rank_num,
                                         .global_bs = global_bs,
                                         .comm_alg = comm_alg,
                                         .zero_experts = zero_expert_num,
                                         .copy_experts = copy_expert_num,
                                         .const_experts = const_expert_num},
                        .expand_x = expand_x,
                        .choices = {expert_ids, x_active_mask},
                        .info = expand_idx,
                        .counts = ep_send_counts,
                        .weights = expert_scales,
                        .shared_expert_x = shared_expert_x};
  const SpecialExperts special{ori_x, const_expert_alpha_1, const_expert_alpha_2, const_expert_v};
  const at::Tensor sum = combined_by_triples(combine, special, comm_quant_mode).unsqueeze(1);
  TORCH_CHECK_VALUE(residual_x.sizes() == sum.sizes(), kOp, ": expected residual_x of ",
                    sum.sizes(), ", got ", residual_x.sizes());
  check_gamma(kOp, residual_x, gamma);
  const at::Tensor x = sum + widened(residual_x);
  const Normalized result = normalize_rms(x, widened(gamma), norm_eps);
  const at::ScalarType dtype = expand_x.scalar_type();
  return {result.y.to(dtype), result.rstd, x.to(dtype)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&distribute_combine>(m, "npu_moe_distribute_combine");
  composed_kernel<&distribute_combine_add_rms_norm>(m, "npu_moe_distribute_combine_add_rms_norm");
  composed_kernel<&distribute_combine_v2>(m, "npu_moe_distribute_combine_v2");
}

}  // namespace
}  // namespace npu_sim::ops
