// npu_moe_distribute_dispatch and its second form: tokens to the cards of their experts.
#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "aten/describe/registry.h"
#include "ops/format/coded.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/moe/distribute.h"
#include "ops/moe/moved_rows.h"
#include "ops/moe/routed.h"
#include "ops/moe/routed_codes.h"
#include "ops/quant/mx.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

// --- work: each choice moves its token's row. Between cards the rows would cross a link; a group
// of one card copies them within the memory.
model::Work move_choices(const aten::Call& call) {
  return moved_rows(call, {.table = aten::tensor_at(call, 0),
                           .items = aten::elements_of(aten::tensor_at(call, 1)),
                           .one_by_one = true});
}
constexpr aten::Entry kEntries[] = {
    {"npu_moe_distribute_dispatch", move_choices},
    {"npu_moe_distribute_dispatch_v2", move_choices},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
enum class Quant : std::int64_t { kNone = 0, kStatic = 1, kToken = 2, kTile = 3, kMx = 4 };

struct Dispatch {
  Distribution distribution;
  const at::Tensor& x;
  TokenChoices choices;
  const MaybeTensor& scales;
  const MaybeTensor& expert_scales;
  Quant quant;
  std::optional<std::int64_t> y_dtype;
};

bool is_wide(const at::Tensor& x) {
  return x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16;
}

// What the codes are; int8 where y_dtype does not say.
Element element_for(const Dispatch& dispatch) {
  return dispatch.y_dtype.has_value()
             ? require_element({dispatch.distribution.op, "y_dtype"}, *dispatch.y_dtype)
             : Element::kInt8;
}

bool is_fp8(Element element) { return element == Element::kE4m3 || element == Element::kE5m2; }

void check_scales(const Dispatch& dispatch) {
  const char* const op = dispatch.distribution.op;
  const MaybeTensor& scales = dispatch.scales;
  const std::int64_t width = dispatch.x.size(1);
  if (dispatch.quant == Quant::kNone) {
    TORCH_CHECK_VALUE(!given(scales) || !is_wide(dispatch.x), op,
                      ": expected no scales for quant_mode 0, got some");
    TORCH_CHECK_VALUE(
        !given(scales) || (scales->dim() == 2 && scales->size(0) == dispatch.x.size(0)), op,
        ": expected scales of [", dispatch.x.size(0), ", n], those of the rows of x, got ",
        given(scales) ? scales->sizes() : at::IntArrayRef{});
    return;
  }
  TORCH_CHECK_VALUE(given(scales) || dispatch.quant != Quant::kStatic, op,
                    ": expected scales for quant_mode 1, got None");
  TORCH_CHECK_VALUE(!given(scales) || dispatch.quant != Quant::kMx, op,
                    ": expected no scales for quant_mode 4, got some");
  if (!given(scales)) return;
  const bool each = scales->dim() == 2 && scales->size(1) == width &&
                    scales->size(0) == dispatch.distribution.moe_expert_num;
  const bool shared =
      dispatch.quant == Quant::kStatic && (scales->numel() == 1 || scales->numel() == width);
  TORCH_CHECK_VALUE(each || shared, op, ": expected scales of [",
                    dispatch.distribution.moe_expert_num, ", ", width, "], got ", scales->sizes());
}

void check_dispatch(const Dispatch& dispatch) {
  const char* const op = dispatch.distribution.op;
  const at::Tensor& x = dispatch.x;
  const at::Tensor& ids = dispatch.choices.expert_ids;
  TORCH_CHECK_VALUE(x.dim() == 2, op, ": expected x of [tokens, hidden], got ", x.sizes());
  check_token_choices(dispatch.distribution, dispatch.choices);
  TORCH_CHECK_VALUE(ids.size(0) == x.size(0), op, ": expected expert_ids of [", x.size(0),
                    ", k], got ", ids.sizes());
  const bool narrow = x.element_size() == 1 && dispatch.quant == Quant::kNone;
  TORCH_CHECK_TYPE(is_wide(x) || narrow, op,
                   ": expected x of float16 or bfloat16, or of codes for quant_mode 0, got ",
                   x.scalar_type());
  if (dispatch.quant == Quant::kTile || dispatch.quant == Quant::kMx) {
    const Element element = element_for(dispatch);
    const bool fp4 = element == Element::kE2m1 || element == Element::kE1m2;
    TORCH_CHECK_VALUE(is_fp8(element) || (fp4 && dispatch.quant == Quant::kMx), op,
                      ": expected y_dtype of fp8", dispatch.quant == Quant::kMx ? " or fp4" : "",
                      " for quant_mode ", static_cast<std::int64_t>(dispatch.quant), ", got ",
                      dispatch.y_dtype.has_value() ? std::to_string(*dispatch.y_dtype) : "None");
  }
  check_scales(dispatch);
  const MaybeTensor& weights = dispatch.expert_scales;
  TORCH_CHECK_VALUE(!given(weights) || weights->sizes() == ids.sizes(), op,
                    ": expected expert_scales of ", ids.sizes(), ", got ",
                    given(weights) ? weights->sizes() : at::IntArrayRef{});
}

Quant quant_of(const char* op, std::int64_t mode, std::int64_t last) {
  TORCH_CHECK_NOT_IMPLEMENTED(mode != 5, op, ": quant_mode 5 is not built yet; use 4");
  TORCH_CHECK_VALUE(mode >= 0 && mode <= last, op, ": expected quant_mode from 0 to ", last,
                    ", got ", mode);
  return static_cast<Quant>(mode);
}

// The expert of each choice; moe_expert_num for a choice that no card computes.
at::Tensor computing_experts(const Dispatch& dispatch) {
  const at::Tensor& ids = dispatch.choices.expert_ids;
  const std::int64_t experts = dispatch.distribution.moe_expert_num;
  return at::where(active_choices(dispatch.choices), ids, experts)
      .clamp_max(experts)
      .to(at::kInt)
      .reshape({-1});
}

// Rows that the card holds at most.
std::int64_t capacity_of(const Dispatch& dispatch) {
  const Distribution& distribution = dispatch.distribution;
  const at::Tensor& ids = dispatch.choices.expert_ids;
  const std::int64_t tokens = distribution.global_bs == 0 ? ids.size(0) * distribution.ep_world_size
                                                          : distribution.global_bs;
  return tokens * std::min(distribution.moe_expert_num, ids.size(1));
}

// Choices in the order of their experts, one a row that the card holds; -1 for the rest.
at::Tensor sources_of(const Dispatch& dispatch, const at::Tensor& experts) {
  const std::int64_t all = experts.numel();
  const std::int64_t capacity = capacity_of(dispatch);
  const at::Tensor source =
      dropless(experts, {0, dispatch.distribution.moe_expert_num}, all, /*scatters=*/true).source;
  if (capacity >= all) return at::constant_pad_nd(source, {0, capacity - all}, -1);
  TORCH_CHECK_VALUE(
      source.is_meta() || (source.narrow(0, capacity, all - capacity) < 0).all().item<bool>(),
      dispatch.distribution.op, ": expected expert_ids that differ within a token, got more than ",
      capacity, " choices of ", dispatch.distribution.moe_expert_num, " experts");
  return source.narrow(0, 0, capacity);
}

at::Tensor zeros_like_rows(const at::Tensor& rows) {
  return at::zeros({rows.size(0)}, rows.options().dtype(at::kFloat));
}

at::Tensor smoothed(const Dispatch& dispatch, const at::Tensor& rows, const at::Tensor& expert) {
  const at::Tensor wide = rows.to(at::kFloat);
  if (!given(dispatch.scales)) return wide;
  const at::Tensor scales = dispatch.scales->to(at::kFloat);
  const bool each = scales.dim() == 2 && scales.size(0) > 1;
  return wide * (each ? scales.index_select(0, expert) : scales.reshape({1, -1}));
}

// The rows as they are sent, and their scales.
Quantized coded(const Dispatch& dispatch, const at::Tensor& source, const at::Tensor& experts) {
  const char* const op = dispatch.distribution.op;
  const std::int64_t k = dispatch.choices.expert_ids.size(1);
  const at::Tensor rows = expanded(dispatch.x, source, k);
  const at::Tensor expert = expanded(experts, source, 1);
  const Element element = element_for(dispatch);
  switch (dispatch.quant) {
    case Quant::kNone:
      return {.codes = rows,
              .scale = given(dispatch.scales) ? expanded(*dispatch.scales, source, k)
                                              : zeros_like_rows(rows)};
    case Quant::kStatic:
      return {
          .codes = encoded(op, smoothed(dispatch, rows, expert), element, cast_rounding(element)),
          .scale = zeros_like_rows(rows)};
    case Quant::kToken:
      return quantize_rows(op, smoothed(dispatch, rows, expert),
                           {.element = element, .rounding = cast_rounding(element)});
    case Quant::kTile:
      return tile_row_codes(op, smoothed(dispatch, rows, expert),
                            {.element = element, .size = 128});
    case Quant::kMx: {
      const Quantized codes = mx_quantize(op, rows, {.element = element});
      return {.codes = codes.codes, .scale = codes.scale.flatten(-2)};
    }
  }
  return {};
}

// For combine: the card, token and number of the choice behind each row, one after another. The
// card's own encoding differs by product and version, so code may only pass it on.
at::Tensor triples(const Dispatch& dispatch, const at::Tensor& source) {
  constexpr std::int64_t kIntegersARow = 128;
  const at::Tensor& ids = dispatch.choices.expert_ids;
  const std::int64_t k = std::max<std::int64_t>(ids.size(1), 1);
  const at::Tensor choice = source.clamp_min(0);
  const at::Tensor rank = at::full_like(choice, dispatch.distribution.ep_rank_id);
  const at::Tensor flat =
      at::stack({rank, choice.floor_divide(k), choice.remainder(k)}, 1).reshape({-1});
  const std::int64_t length = std::max(ids.numel(), source.numel() * kIntegersARow);
  return at::constant_pad_nd(flat, {0, length - flat.numel()}).to(at::kInt);
}

// For the first combine: each choice's number among those of its expert; -1 if it was not sent.
at::Tensor numbers(const Dispatch& dispatch, const at::Tensor& experts, const at::Tensor& ends) {
  const std::int64_t count = dispatch.distribution.moe_expert_num;
  const Routed routed = dropless(experts, {0, count}, experts.numel(), /*scatters=*/false);
  const at::Tensor starts = at::constant_pad_nd(ends, {1, 0});
  const at::Tensor number = routed.row_idx - starts.index_select(0, experts);
  return at::where(routed.row_idx >= 0, number, -1).to(at::kInt);
}

// The second form says how to combine by triples, the first by numbers.
enum class Form : std::uint8_t { kNumbers, kTriples };

using Dispatched =
    std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Dispatched dispatched(const Dispatch& dispatch, Form form, std::int64_t expert_token_nums_type) {
  const Distribution& distribution = dispatch.distribution;
  check_distribution(distribution);
  const CardGroup group = expert_group(distribution);
  check_dispatch(dispatch);
  TORCH_CHECK_VALUE(expert_token_nums_type == 0 || expert_token_nums_type == 1, distribution.op,
                    ": expected expert_token_nums_type of 0 (sums) or 1 (counts), got ",
                    expert_token_nums_type);
  const at::Tensor experts = computing_experts(dispatch);
  const at::Tensor source = sources_of(dispatch, experts);
  const Quantized rows = coded(dispatch, source, experts);
  const ExpertRange all{0, distribution.moe_expert_num};
  const at::Tensor counts =
      expert_tokens(experts, all, TokenCount::kCounts, distribution.moe_expert_num);
  const at::Tensor ends = counts.cumsum(0);
  const std::int64_t held = source.numel();
  const at::Tensor weights =
      given(dispatch.expert_scales)
          ? expanded(dispatch.expert_scales->reshape({-1}).to(at::kFloat), source, 1)
          : zeros_like_rows(source);
  return {all_to_all(group, rows.codes, {held}, {held}),
          all_to_all(group, rows.scale, {held}, {held}),
          form == Form::kTriples ? triples(dispatch, source) : numbers(dispatch, experts, ends),
          expert_token_nums_type == 0 ? ends : counts,
          ends.to(at::kInt),
          ends.narrow(0, ends.numel() - 1, 1)
              .expand({distribution.tp_world_size})
              .to(at::kInt)
              .contiguous(),
          all_to_all(group, weights, {held}, {held})};
}

Dispatched distribute_dispatch(const at::Tensor& x, const at::Tensor& expert_ids,
                               [[maybe_unused]] c10::string_view group_ep,
                               std::int64_t ep_world_size, std::int64_t ep_rank_id,
                               std::int64_t moe_expert_num, const MaybeTensor& scales,
                               const MaybeTensor& x_active_mask, const MaybeTensor& expert_scales,
                               [[maybe_unused]] c10::string_view group_tp,
                               std::int64_t tp_world_size, [[maybe_unused]] std::int64_t tp_rank_id,
                               std::int64_t expert_shard_type, std::int64_t shared_expert_num,
                               std::int64_t shared_expert_rank_num, std::int64_t quant_mode,
                               std::int64_t global_bs, std::int64_t expert_token_nums_type) {
  constexpr const char* kOp = "npu_moe_distribute_dispatch";
  return dispatched({.distribution = {.op = kOp,
                                      .ep_world_size = ep_world_size,
                                      .ep_rank_id = ep_rank_id,
                                      .moe_expert_num = moe_expert_num,
                                      .tp_world_size = tp_world_size,
                                      .expert_shard_type = expert_shard_type,
                                      .shared_expert_num = shared_expert_num,
                                      .shared_expert_rank_num = shared_expert_rank_num,
                                      .global_bs = global_bs,
                                      .comm_alg = {}},
                     .x = x,
                     .choices = {expert_ids, x_active_mask},
                     .scales = scales,
                     .expert_scales = expert_scales,
                     .quant = quant_of(kOp, quant_mode, 2),
                     .y_dtype = std::nullopt},
                    Form::kNumbers, expert_token_nums_type);
}

Dispatched distribute_dispatch_v2(
    const at::Tensor& x, const at::Tensor& expert_ids, [[maybe_unused]] c10::string_view group_ep,
    std::int64_t ep_world_size, std::int64_t ep_rank_id, std::int64_t moe_expert_num,
    const MaybeTensor& scales, const MaybeTensor& x_active_mask, const MaybeTensor& expert_scales,
    const MaybeTensor& elastic_info, const MaybeTensor& performance_info,
    [[maybe_unused]] c10::string_view group_tp, std::int64_t tp_world_size,
    [[maybe_unused]] std::int64_t tp_rank_id, std::int64_t expert_shard_type,
    std::int64_t shared_expert_num, std::int64_t shared_expert_rank_num, std::int64_t quant_mode,
    std::int64_t global_bs, std::int64_t expert_token_nums_type, c10::string_view comm_alg,
    std::int64_t zero_expert_num, std::int64_t copy_expert_num, std::int64_t const_expert_num,
    std::optional<std::int64_t> y_dtype, [[maybe_unused]] std::optional<std::int64_t> x_dtype,
    [[maybe_unused]] std::optional<std::int64_t> scales_dtype) {
  constexpr const char* kOp = "npu_moe_distribute_dispatch_v2";
  refuse_given(kOp, "elastic_info", elastic_info);
  refuse_given(kOp, "performance_info", performance_info);
  return dispatched({.distribution = {.op = kOp,
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
                     .x = x,
                     .choices = {expert_ids, x_active_mask},
                     .scales = scales,
                     .expert_scales = expert_scales,
                     .quant = quant_of(kOp, quant_mode, 4),
                     .y_dtype = quant_mode == 0 ? std::nullopt : y_dtype},
                    Form::kTriples, expert_token_nums_type);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&distribute_dispatch>(m, "npu_moe_distribute_dispatch");
  composed_kernel<&distribute_dispatch_v2>(m, "npu_moe_distribute_dispatch_v2");
}

}  // namespace
}  // namespace npu_sim::ops
