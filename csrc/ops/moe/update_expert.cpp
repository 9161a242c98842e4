// npu_moe_update_expert: the card that computes each chosen expert, where experts have copies on
// several cards, and which choices are worth sending.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/ones.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/indices.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_moe_update_expert";

// --- work: each choice reads two numbers of the table, the count and the place.
model::Work look_up(const aten::Call& call) {
  const at::Tensor& ids = aten::tensor_at(call, 0);
  const at::Tensor& table = aten::tensor_at(call, 1);
  const std::int64_t items = 2 * aten::elements_of(ids);
  const base::Bytes item{static_cast<std::int64_t>(table.element_size())};
  base::Bytes floats{};
  for (const std::size_t argument : {2, 3, 4})
    floats += aten::bytes_of(aten::tensor_at(call, argument));
  return model::GatherWork{.items = items,
                           .item = item,
                           .index = aten::bytes_of(ids),
                           .written = aten::traffic_of(call).written,
                           .read = item * items + floats,
                           .table = aten::bytes_of(table)};
}
constexpr aten::Entry kEntries[] = {{kOp, look_up}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Balance {
  std::int64_t rank;
  std::int64_t cards;
  bool by_token;
};

void check_balance(const at::Tensor& ids, const at::Tensor& table, const Balance& balance) {
  TORCH_CHECK_VALUE(ids.dim() == 2, kOp, ": expected expert_ids of [tokens, k], got ", ids.sizes());
  TORCH_CHECK_VALUE(table.dim() == 2 && table.size(1) >= 2, kOp,
                    ": expected eplb_table of [experts, 1 + places], got ", table.sizes());
  check_indices({kOp, "expert_ids"}, ids, 0, table.size(0));
  check_indices({kOp, "count of eplb_table"}, table.select(1, 0), 1, table.size(1));
  TORCH_CHECK_VALUE(balance.by_token || (balance.rank >= 0 && balance.rank < balance.cards), kOp,
                    ": expected local_rank_id from 0 and below world_size ", balance.cards,
                    " for balance_mode 0, got ", balance.rank);
}

void check_pruning(const at::Tensor& ids, const MaybeTensor& scales, const MaybeTensor& threshold,
                   const MaybeTensor& mask) {
  TORCH_CHECK_VALUE(given(scales) == given(threshold), kOp,
                    ": expected expert_scales and pruning_threshold both or neither, got one");
  TORCH_CHECK_VALUE(!given(mask) || given(scales), kOp,
                    ": expected expert_scales and pruning_threshold with active_mask, got None");
  if (!given(scales)) return;
  TORCH_CHECK_VALUE(scales->sizes() == ids.sizes(), kOp, ": expected expert_scales of ",
                    ids.sizes(), ", got ", scales->sizes());
  TORCH_CHECK_VALUE(threshold->numel() == ids.size(1), kOp, ": expected pruning_threshold of [",
                    ids.size(1), "], got ", threshold->sizes());
  TORCH_CHECK_VALUE(!given(mask) || (mask->dim() == 1 && mask->size(0) == ids.size(0)), kOp,
                    ": expected active_mask of [", ids.size(0), "], got ",
                    given(mask) ? mask->sizes() : at::IntArrayRef{});
  TORCH_CHECK_TYPE(!given(mask) || mask->scalar_type() == at::kBool, kOp,
                   ": expected active_mask of bool, got ",
                   given(mask) ? mask->scalar_type() : at::kBool);
}

// --- compute
// Which of an expert's places serves a choice: neighbouring cards share one, or tokens take turns.
at::Tensor turn_of(const at::Tensor& counts, const Balance& balance) {
  if (balance.by_token) {
    return at::arange(counts.size(0), counts.options()).unsqueeze(1).remainder(counts);
  }
  const at::Tensor cards_a_place = (counts + (balance.cards - 1)).floor_divide(counts);
  return at::full_like(counts, balance.rank).floor_divide(cards_a_place);
}

at::Tensor places_of(const at::Tensor& ids, const at::Tensor& table, const Balance& balance) {
  const at::Tensor flat = ids.reshape({-1});
  const at::Tensor counts = table.select(1, 0).index_select(0, flat).view(ids.sizes());
  const at::Tensor column = (turn_of(counts.to(at::kLong), balance) + 1).reshape({-1, 1});
  return at::gather(table.index_select(0, flat), 1, column).view(ids.sizes()).to(ids.scalar_type());
}

// A choice stays where its scale reaches the threshold's share of the token's scales.
at::Tensor kept(const at::Tensor& scales, const at::Tensor& threshold, const MaybeTensor& mask) {
  const at::Tensor wide = widened(scales);
  const at::Tensor least = wide.sum(1, true) * widened(threshold).reshape({1, -1});
  const at::Tensor enough = wide >= least;
  return given(mask) ? enough & mask->unsqueeze(1) : enough;
}

std::tuple<at::Tensor, at::Tensor> update_expert(
    const at::Tensor& expert_ids, const at::Tensor& eplb_table, const MaybeTensor& expert_scales,
    const MaybeTensor& pruning_threshold, const MaybeTensor& active_mask,
    std::int64_t local_rank_id, std::int64_t world_size, std::int64_t balance_mode) {
  TORCH_CHECK_VALUE(balance_mode == 0 || balance_mode == 1, kOp,
                    ": expected balance_mode of 0 (by card) or 1 (by token), got ", balance_mode);
  const Balance balance{local_rank_id, world_size, balance_mode == 1};
  check_balance(expert_ids, eplb_table, balance);
  check_pruning(expert_ids, expert_scales, pruning_threshold, active_mask);
  // The card leaves the mask undefined where nothing prunes; here it then keeps every choice.
  const at::Tensor mask = given(expert_scales)
                              ? kept(*expert_scales, *pruning_threshold, active_mask)
                              : at::ones(expert_ids.sizes(), expert_ids.options().dtype(at::kBool));
  return {places_of(expert_ids, eplb_table, balance), mask};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&update_expert>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
