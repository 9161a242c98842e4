// npu_moe_init_routing and its kin: rows to their experts, counts of rows, and results back.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/moe/indices.h"
#include "ops/moe/moved_rows.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: the choices are sorted, then each chosen row is copied to its place.
template <std::size_t expert_idx>
model::Work sort_choices(const aten::Call& call) {
  return sorted_choices(aten::tensor_at(call, expert_idx));
}
model::Work move_tokens(const aten::Call& call) {
  const at::Tensor& x = aten::tensor_at(call, 0);
  const std::int64_t row = std::max<std::int64_t>(aten::size_along(x, -1), 1);
  return moved_rows(call, {.table = x, .items = call.result().numel() / row});
}
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

constexpr aten::Describer kThenMoves[] = {move_tokens};
constexpr aten::Entry kEntries[] = {
    {"npu_moe_init_routing", sort_choices<2>, kThenMoves},
    {"npu_moe_init_routing_v2", sort_choices<1>, kThenMoves},
    {"npu_moe_compute_expert_tokens", search},
    {"npu_moe_re_routing", move_ranks},
    {"npu_moe_finalize_routing", gather_results},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
void check_choices(const char* op, const at::Tensor& x, const at::Tensor& expert_idx) {
  TORCH_CHECK_VALUE(x.dim() == 2, op, ": expected x of [tokens, hidden], got ", x.sizes());
  TORCH_CHECK_VALUE(expert_idx.dim() == 2 && expert_idx.size(0) == x.size(0), op,
                    ": expected expert_idx of [", x.size(0), ", k], got ", expert_idx.sizes());
  TORCH_CHECK_TYPE(expert_idx.scalar_type() == at::kInt, op, ": expected expert_idx of int32, got ",
                   expert_idx.scalar_type());
}

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

// The experts that this call serves, [first, last).
struct Range {
  std::int64_t first;
  std::int64_t last;
};

Range active_range(const char* op, at::IntArrayRef range, std::int64_t expert_num) {
  if (range.empty()) return {0, expert_num};
  TORCH_CHECK_VALUE(range.size() == 2 && range[0] >= 0 && range[0] < range[1], op,
                    ": expected active_expert_range of two increasing numbers from 0, got ", range);
  return {range[0], range[1]};
}

// Rows of each expert in `range`, of `experts` sorted or not: counts, running sums, or pairs.
at::Tensor expert_tokens(const at::Tensor& experts, Range range, std::int64_t type,
                         std::int64_t expert_num) {
  const std::int64_t length = range.last - range.first;
  if (experts.is_meta()) {
    const std::vector<std::int64_t> shape =
        type == 2 ? std::vector<std::int64_t>{expert_num, 2} : std::vector<std::int64_t>{length};
    return at::empty(shape, experts.options().dtype(at::kLong));
  }
  const at::Tensor own = experts.masked_select((experts >= range.first) & (experts < range.last));
  const at::Tensor counts = at::bincount(own.to(at::kLong) - range.first, {}, length);
  if (type == 0) return counts.cumsum(0);
  if (type == 1) return counts;
  // Pairs of expert and count for those with rows; zeros after the last.
  const at::Tensor busy = counts.nonzero().squeeze(1);
  at::Tensor pairs = at::zeros({expert_num, 2}, counts.options());
  pairs.narrow(0, 0, busy.numel())
      .copy_(at::stack({busy + range.first, counts.index_select(0, busy)}, 1));
  return pairs;
}

struct Routed {
  at::Tensor source;   // choice behind each row of the result, -1 where there is none
  at::Tensor row_idx;  // [tokens k], int32
};

// Sorted by expert, experts outside of the range last.
Routed dropless(const at::Tensor& experts, Range range, std::int64_t rows, bool scatters) {
  const at::Tensor own = (experts >= range.first) & (experts < range.last);
  const at::Tensor order = stable_order(at::where(own, experts, range.last));
  const at::Tensor served = own.index_select(0, order);
  const at::Tensor source = at::where(served, order, -1);
  if (scatters) return {source.narrow(0, 0, rows), source.to(at::kInt)};
  const at::Tensor places = at::where(own, inverse_order(order), -1);
  return {source.narrow(0, 0, rows), places.to(at::kInt)};
}

// `capacity` rows an expert; later choices of a full expert are dropped.
Routed padded(const at::Tensor& experts, std::int64_t expert_num, std::int64_t capacity) {
  const at::Tensor order = stable_order(experts);
  const at::Tensor sorted = experts.index_select(0, order).to(at::kLong);
  const at::Tensor ranks =
      at::arange(sorted.numel(), sorted.options()) - at::searchsorted(sorted, sorted);
  const at::Tensor kept = ranks < capacity;
  const std::int64_t all = expert_num * capacity;
  const at::Tensor place = at::where(kept, sorted * capacity + ranks, all);
  at::Tensor source = at::full({all + 1}, -1, sorted.options());
  source = source.scatter(0, place, order).narrow(0, 0, all);
  at::Tensor row_idx = at::full({sorted.numel()}, -1, sorted.options());
  row_idx = row_idx.scatter(0, order, at::where(kept, place, -1));
  return {source, row_idx.to(at::kInt)};
}

// Rows of `x` behind the choices; zeros where there is none.
at::Tensor expanded(const at::Tensor& x, const at::Tensor& source, std::int64_t k) {
  if (x.size(0) == 0) return at::zeros({source.numel(), x.size(1)}, x.options());
  const at::Tensor token = source.clamp_min(0).floor_divide(std::max<std::int64_t>(k, 1));
  const at::Tensor rows = x.index_select(0, token);
  return at::where((source >= 0).view({-1, 1}), rows, at::zeros({}, x.options()));
}

struct RoutingModes {
  std::int64_t drop_pad;
  std::int64_t tokens_type;
  std::int64_t quant;
  std::int64_t row_idx_type;
};

void check_modes(const RoutingModes& modes, std::int64_t expert_num, std::int64_t capacity) {
  constexpr const char* kOp = "npu_moe_init_routing_v2";
  TORCH_CHECK_VALUE(modes.drop_pad == 0 || modes.drop_pad == 1, kOp,
                    ": expected drop_pad_mode of 0 or 1, got ", modes.drop_pad);
  TORCH_CHECK_VALUE(modes.tokens_type >= 0 && modes.tokens_type <= 2, kOp,
                    ": expected expert_tokens_num_type of 0 (sums), 1 (counts) or 2 (pairs), got ",
                    modes.tokens_type);
  TORCH_CHECK_VALUE(modes.row_idx_type == 0 || modes.row_idx_type == 1, kOp,
                    ": expected row_idx_type of 0 (gather) or 1 (scatter), got ",
                    modes.row_idx_type);
  TORCH_CHECK_NOT_IMPLEMENTED(modes.quant == -1, kOp, ": quant_mode ", modes.quant,
                              " is not built yet; route with quant_mode=-1 and quantise the rows");
  TORCH_CHECK_VALUE(expert_num > 0, kOp, ": expected expert_num of 1 or more, got ", expert_num);
  TORCH_CHECK_VALUE(modes.drop_pad == 0 || capacity > 0, kOp,
                    ": expected expert_capacity of 1 or more for drop_pad_mode 1, got ", capacity);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> init_routing_v2(
    const at::Tensor& x, const at::Tensor& expert_idx, const std::optional<at::Tensor>& scale,
    [[maybe_unused]] const std::optional<at::Tensor>& offset, std::int64_t active_num,
    std::int64_t expert_capacity, std::int64_t expert_num, std::int64_t drop_pad_mode,
    std::int64_t expert_tokens_num_type, bool expert_tokens_num_flag, std::int64_t quant_mode,
    at::IntArrayRef active_expert_range, std::int64_t row_idx_type,
    [[maybe_unused]] std::optional<std::int64_t> x_dtype) {
  constexpr const char* kOp = "npu_moe_init_routing_v2";
  check_choices(kOp, x, expert_idx);
  check_modes({drop_pad_mode, expert_tokens_num_type, quant_mode, row_idx_type}, expert_num,
              expert_capacity);
  check_indices({kOp, "expert_idx"}, expert_idx, 0, expert_num);
  TORCH_CHECK_VALUE(!given(scale) || scale->size(0) == x.size(0), kOp, ": expected scale of [",
                    x.size(0), ", ...], a row for each of x, got ",
                    given(scale) ? scale->sizes() : at::IntArrayRef{});
  const Range range = active_range(kOp, active_expert_range, expert_num);
  const at::Tensor experts = expert_idx.reshape({-1});
  const std::int64_t all = experts.numel();
  const bool pads = drop_pad_mode == 1;
  const Routed routed =
      pads ? padded(experts, expert_num, expert_capacity)
           : dropless(experts, range, active_num > 0 ? std::min(active_num, all) : all,
                      row_idx_type == 1);
  at::Tensor rows = expanded(x, routed.source, expert_idx.size(1));
  if (pads) rows = rows.view({expert_num, expert_capacity, x.size(1)});
  const at::Tensor counts = expert_tokens_num_flag
                                ? expert_tokens(experts, range, expert_tokens_num_type, expert_num)
                                : at::zeros({}, x.options().dtype(at::kLong));
  at::Tensor scales = at::zeros({routed.source.size(0)}, x.options().dtype(at::kFloat));
  if (given(scale)) {
    const at::Tensor moved =
        expanded(scale->reshape({x.size(0), -1}), routed.source, expert_idx.size(1));
    std::vector<std::int64_t> shape = scale->sizes().vec();
    shape.front() = routed.source.size(0);
    scales = moved.view(shape);
  }
  return {rows, routed.row_idx, counts, scales};
}

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
  composed_kernel<&init_routing>(m, "npu_moe_init_routing");
  composed_kernel<&init_routing_v2>(m, "npu_moe_init_routing_v2");
  composed_kernel<&compute_expert_tokens>(m, "npu_moe_compute_expert_tokens");
  composed_kernel<&re_routing>(m, "npu_moe_re_routing");
  composed_kernel<&finalize_routing>(m, "npu_moe_finalize_routing");
}

}  // namespace
}  // namespace npu_sim::ops
