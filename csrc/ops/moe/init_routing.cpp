// npu_moe_init_routing and its kin: rows of tokens to their experts, quantised on the way or not.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "aten/describe/registry.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"
#include "ops/moe/moved_rows.h"
#include "ops/moe/routed.h"
#include "ops/moe/routed_codes.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {
namespace {

// --- work: the choices are sorted, then each chosen row is copied to its place. A quantisation
// passes between the two halves of the copy; its instructions hide behind the moves.
template <std::size_t expert_idx>
model::Work sort_choices(const aten::Call& call) {
  return sorted_choices(aten::tensor_at(call, expert_idx));
}
model::Work move_tokens(const aten::Call& call) {
  const at::Tensor& rows = call.result();
  const std::int64_t width = std::max<std::int64_t>(aten::size_along(rows, -1), 1);
  return moved_rows(call, {.table = aten::tensor_at(call, 0), .items = rows.numel() / width});
}

constexpr aten::Describer kThenMoves[] = {move_tokens};
constexpr aten::Entry kEntries[] = {
    {"npu_moe_init_routing", sort_choices<2>, kThenMoves},
    {"npu_moe_init_routing_quant", sort_choices<1>, kThenMoves},
    {"npu_moe_init_routing_v2", sort_choices<1>, kThenMoves},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// Places count down the columns of row_idx: choice j of token i is source row j tokens + i.
std::tuple<at::Tensor, at::Tensor, at::Tensor> init_routing(const at::Tensor& x,
                                                            const at::Tensor& row_idx,
                                                            const at::Tensor& expert_idx,
                                                            std::int64_t active_num) {
  constexpr const char* kOp = "npu_moe_init_routing";
  check_choices(kOp, x, expert_idx);
  TORCH_CHECK_VALUE(row_idx.sizes() == expert_idx.sizes(), kOp, ": expected row_idx of ",
                    expert_idx.sizes(), ", the shape of expert_idx, got ", row_idx.sizes());
  TORCH_CHECK_VALUE(active_num >= 0, kOp, ": expected active_num of 0 or more, got ", active_num);
  check_indices({kOp, "row_idx"}, row_idx, 0, row_idx.numel());
  const at::Tensor experts = expert_idx.reshape({-1});
  const at::Tensor order = stable_order(experts);
  const at::Tensor source = row_idx.reshape({-1}).to(at::kLong).index_select(0, order);
  const std::int64_t rows = std::min(active_num, x.size(0)) * expert_idx.size(1);
  const std::int64_t tokens = std::max<std::int64_t>(x.size(0), 1);
  return {x.index_select(0, source.narrow(0, 0, rows).remainder(tokens)),
          inverse_order(source).to(at::kInt), experts.index_select(0, order)};
}

// What both quantising forms are told about the rows.
struct Routing {
  const char* op;
  const at::Tensor& x;
  const at::Tensor& expert_idx;
  std::int64_t active_num;
  std::int64_t capacity;
  std::int64_t expert_num;
  bool pads;
  ExpertRange range;
  bool scatters = false;
};

void check_routing(const Routing& routing, std::int64_t drop_pad_mode) {
  check_choices(routing.op, routing.x, routing.expert_idx);
  TORCH_CHECK_VALUE(drop_pad_mode == 0 || drop_pad_mode == 1, routing.op,
                    ": expected drop_pad_mode of 0 or 1, got ", drop_pad_mode);
  TORCH_CHECK_VALUE(routing.expert_num > 0, routing.op, ": expected expert_num of 1 or more, got ",
                    routing.expert_num);
  TORCH_CHECK_VALUE(!routing.pads || routing.capacity > 0, routing.op,
                    ": expected expert_capacity of 1 or more for drop_pad_mode 1, got ",
                    routing.capacity);
  TORCH_CHECK_VALUE(
      !routing.pads || (routing.range.first == 0 && routing.range.last == routing.expert_num),
      routing.op, ": expected active_expert_range of all ", routing.expert_num,
      " experts for drop_pad_mode 1, got [", routing.range.first, ", ", routing.range.last, "]");
  check_indices({routing.op, "expert_idx"}, routing.expert_idx, 0, routing.expert_num);
}

at::Tensor experts_of(const Routing& routing) { return routing.expert_idx.reshape({-1}); }

Routed routed(const Routing& routing) {
  const at::Tensor experts = experts_of(routing);
  if (routing.pads) return padded(experts, routing.expert_num, routing.capacity);
  const std::int64_t all = experts.numel();
  const std::int64_t rows = routing.active_num > 0 ? std::min(routing.active_num, all) : all;
  return dropless(experts, routing.range, rows, routing.scatters);
}

at::Tensor moved(const Routing& routing, const at::Tensor& table, const at::Tensor& source) {
  return expanded(table, source, routing.expert_idx.size(1));
}

// Rows by expert and capacity where the call pads.
at::Tensor as_returned(const Routing& routing, const at::Tensor& rows) {
  if (!routing.pads) return rows;
  return rows.unflatten(0, {routing.expert_num, routing.capacity});
}

Quantized quantised(const Routing& routing, const at::Tensor& source,
                    const RowQuantisation& quantisation) {
  const at::Tensor expert = expanded(experts_of(routing).to(at::kLong), source, 1);
  return routed_codes(routing.op,
                      {.values = moved(routing, routing.x, source),
                       .there = source >= 0,
                       .expert = (expert - routing.range.first).clamp_min(0)},
                      quantisation);
}

struct V2Modes {
  std::int64_t drop_pad;
  std::int64_t tokens_type;
  std::int64_t quant;
  std::int64_t row_idx_type;
};

void check_v2_modes(const V2Modes& modes, std::optional<std::int64_t> x_dtype) {
  constexpr const char* kOp = "npu_moe_init_routing_v2";
  TORCH_CHECK_VALUE(modes.tokens_type >= 0 && modes.tokens_type <= 2, kOp,
                    ": expected expert_tokens_num_type of 0 (sums), 1 (counts) or 2 (pairs), got ",
                    modes.tokens_type);
  TORCH_CHECK_VALUE(modes.row_idx_type == 0 || modes.row_idx_type == 1, kOp,
                    ": expected row_idx_type of 0 (gather) or 1 (scatter), got ",
                    modes.row_idx_type);
  const bool int4 = x_dtype.has_value() && element_of(*x_dtype) == compute::Element::kInt4;
  TORCH_CHECK_VALUE(modes.quant != 1 || !int4, kOp,
                    ": expected quant_mode=13 for x_dtype int4, got 1, which makes int8");
  TORCH_CHECK_VALUE(modes.quant != 13 || !x_dtype.has_value() || int4, kOp,
                    ": expected x_dtype of int4 or None for quant_mode 13, got ",
                    x_dtype.value_or(0));
  TORCH_CHECK_VALUE(modes.quant != 13 || modes.drop_pad == 0, kOp,
                    ": expected drop_pad_mode of 0 for quant_mode 13, got ", modes.drop_pad);
  TORCH_CHECK_NOT_IMPLEMENTED(modes.drop_pad == 0 || modes.quant <= 1, kOp,
                              ": drop_pad_mode 1 with "
                              "quant_mode ",
                              modes.quant,
                              " is not built; op-plugin gives its codes the dtype int8");
}

// The scales of rows that keep their format: moved like the rows; E8M0 codes come as bytes.
at::Tensor moved_scales(const Routing& routing, const MaybeTensor& scale,
                        const at::Tensor& source) {
  if (!given(scale)) {
    return at::zeros({source.size(0)}, routing.x.options().dtype(at::kFloat));
  }
  TORCH_CHECK_VALUE(scale->dim() >= 1 && scale->size(0) == routing.x.size(0), routing.op,
                    ": expected scale of [", routing.x.size(0), ", ...], a row for each of x, got ",
                    scale->sizes());
  const at::Tensor rows = moved(routing, *scale, source);
  return rows.scalar_type() == at::kFloat8_e8m0fnu ? rows.view(at::kByte) : rows;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> init_routing_v2(
    const at::Tensor& x, const at::Tensor& expert_idx, const MaybeTensor& scale,
    const MaybeTensor& offset, std::int64_t active_num, std::int64_t expert_capacity,
    std::int64_t expert_num, std::int64_t drop_pad_mode, std::int64_t expert_tokens_num_type,
    bool expert_tokens_num_flag, std::int64_t quant_mode, at::IntArrayRef active_expert_range,
    std::int64_t row_idx_type, std::optional<std::int64_t> x_dtype) {
  constexpr const char* kOp = "npu_moe_init_routing_v2";
  check_v2_modes({drop_pad_mode, expert_tokens_num_type, quant_mode, row_idx_type}, x_dtype);
  const Routing routing{.op = kOp,
                        .x = x,
                        .expert_idx = expert_idx,
                        .active_num = active_num,
                        .capacity = expert_capacity,
                        .expert_num = expert_num,
                        .pads = drop_pad_mode == 1,
                        .range = active_range(kOp, active_expert_range, expert_num),
                        .scatters = row_idx_type == 1};
  check_routing(routing, drop_pad_mode);
  const RowQuantisation quantisation{.mode = quant_mode,
                                     .scale = scale,
                                     .offset = offset,
                                     .experts = routing.range.last - routing.range.first};
  if (quant_mode != -1) check_quantisation(kOp, x, quantisation);
  const Routed rows = routed(routing);
  const Quantized result = quant_mode == -1
                               ? Quantized{.codes = moved(routing, x, rows.source),
                                           .scale = moved_scales(routing, scale, rows.source)}
                               : quantised(routing, rows.source, quantisation);
  const at::Tensor tokens =
      expert_tokens(experts_of(routing), routing.range,
                    static_cast<TokenCount>(expert_tokens_num_type), expert_num);
  return {as_returned(routing, result.codes), rows.row_idx,
          expert_tokens_num_flag ? tokens : at::zeros_like(tokens), result.scale};
}

at::Tensor as_int32(const at::Tensor& tokens) { return tokens.to(at::kInt); }

// Results that no mode asked for are None.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> init_routing_quant(
    const at::Tensor& x, const at::Tensor& expert_idx, const MaybeTensor& scale,
    const MaybeTensor& offset, std::int64_t active_num, std::int64_t expert_capacity,
    std::int64_t expert_num, std::int64_t drop_pad_mode, std::int64_t expert_tokens_num_mode,
    bool expert_tokens_before_capacity_flag, std::int64_t quant_mode) {
  constexpr const char* kOp = "npu_moe_init_routing_quant";
  TORCH_CHECK_VALUE(quant_mode == 0 || quant_mode == 1, kOp,
                    ": expected quant_mode of 0 (static) or 1 (dynamic), got ", quant_mode);
  TORCH_CHECK_VALUE(expert_tokens_num_mode >= 0 && expert_tokens_num_mode <= 2, kOp,
                    ": expected expert_tokens_num_mode of 0 (none), 1 (sums) or 2 (counts), got ",
                    expert_tokens_num_mode);
  const Routing routing{.op = kOp,
                        .x = x,
                        .expert_idx = expert_idx,
                        .active_num = active_num,
                        .capacity = expert_capacity,
                        .expert_num = expert_num,
                        .pads = drop_pad_mode == 1,
                        .range = {0, expert_num}};
  check_routing(routing, drop_pad_mode);
  const RowQuantisation quantisation{
      .mode = quant_mode, .scale = scale, .offset = offset, .experts = expert_num};
  check_quantisation(kOp, x, quantisation);
  const Routed rows = routed(routing);
  const Quantized result = quantised(routing, rows.source, quantisation);
  const bool counts = !routing.pads && expert_tokens_num_mode > 0;
  const bool counts_before = routing.pads && expert_tokens_before_capacity_flag;
  const TokenCount type = expert_tokens_num_mode == 1 ? TokenCount::kSums : TokenCount::kCounts;
  const at::Tensor experts = experts_of(routing);
  return {as_returned(routing, result.codes), rows.row_idx,
          counts ? as_int32(expert_tokens(experts, routing.range, type, expert_num)) : at::Tensor(),
          counts_before
              ? as_int32(expert_tokens(experts, routing.range, TokenCount::kCounts, expert_num))
              : at::Tensor(),
          quant_mode == 1 ? result.scale : at::Tensor()};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&init_routing>(m, "npu_moe_init_routing");
  composed_kernel<&init_routing_quant>(m, "npu_moe_init_routing_quant");
  composed_kernel<&init_routing_v2>(m, "npu_moe_init_routing_v2");
}

}  // namespace
}  // namespace npu_sim::ops
