#include "ops/moe/distribute.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>

#include "ops/indices.h"

namespace npu_sim::ops {
namespace {

void check_shared_experts(const Distribution& distribution) {
  const std::int64_t experts = distribution.shared_expert_num;
  const std::int64_t ranks = distribution.shared_expert_rank_num;
  const bool none = ranks == 0 && (experts == 0 || experts == 1);
  const bool some = experts > 0 && ranks >= experts && ranks % experts == 0;
  TORCH_CHECK_VALUE(none || some, distribution.op,
                    ": expected shared_expert_num of 0 or 1 with shared_expert_rank_num 0, or one "
                    "that divides shared_expert_rank_num, got ",
                    experts, " and ", ranks);
  TORCH_CHECK_VALUE(ranks >= 0 && ranks < distribution.ep_world_size, distribution.op,
                    ": expected shared_expert_rank_num below ep_world_size = ",
                    distribution.ep_world_size, ", got ", ranks);
}

void check_algorithm(const Distribution& distribution) {
  constexpr std::array<std::string_view, 5> kAlgorithms{"", "fullmesh", "fullmesh_v1",
                                                        "fullmesh_v2", "hierarchy"};
  TORCH_CHECK_VALUE(std::ranges::find(kAlgorithms, distribution.comm_alg) != kAlgorithms.end(),
                    distribution.op,
                    ": expected comm_alg of '', fullmesh, fullmesh_v1, fullmesh_v2 or hierarchy, "
                    "got '",
                    distribution.comm_alg, "'");
}

void check_mask(const Distribution& distribution, const TokenChoices& choices) {
  const at::Tensor& mask = *choices.active;
  TORCH_CHECK_TYPE(mask.scalar_type() == at::kBool, distribution.op,
                   ": expected x_active_mask of bool, got ", mask.scalar_type());
  const at::Tensor& ids = choices.expert_ids;
  const bool tokens = mask.dim() == 1 && mask.size(0) == ids.size(0);
  TORCH_CHECK_VALUE(tokens || mask.sizes() == ids.sizes(), distribution.op,
                    ": expected x_active_mask of [", ids.size(0), "] or ", ids.sizes(), ", got ",
                    mask.sizes());
  if (mask.is_meta() || mask.dim() == 2 || mask.size(0) < 2) return;
  const std::int64_t rest = mask.size(0) - 1;
  const bool sorted =
      !(mask.narrow(0, 1, rest) & mask.narrow(0, 0, rest).logical_not()).any().item<bool>();
  TORCH_CHECK_VALUE(sorted, distribution.op,
                    ": expected x_active_mask with all true values before the false ones");
}

}  // namespace

CardGroup expert_group(const Distribution& distribution) {
  return group_of({distribution.op, "ep_world_size"}, distribution.ep_world_size,
                  distribution.ep_rank_id);
}

void check_distribution(const Distribution& distribution) {
  const char* const op = distribution.op;
  static_cast<void>(expert_group(distribution));
  TORCH_CHECK_VALUE(distribution.tp_world_size == 0 || distribution.tp_world_size == 1, op,
                    ": expected tp_world_size of 0 or 1, got ", distribution.tp_world_size);
  TORCH_CHECK_VALUE(distribution.expert_shard_type == 0, op,
                    ": expected expert_shard_type of 0, got ", distribution.expert_shard_type);
  TORCH_CHECK_VALUE(distribution.moe_expert_num >= 1, op,
                    ": expected moe_expert_num of 1 or more, got ", distribution.moe_expert_num);
  const bool positive = distribution.zero_experts >= 0 && distribution.copy_experts >= 0 &&
                        distribution.const_experts >= 0;
  TORCH_CHECK_VALUE(positive, op,
                    ": expected zero_expert_num, copy_expert_num and const_expert_num of 0 or "
                    "more, got ",
                    distribution.zero_experts, ", ", distribution.copy_experts, " and ",
                    distribution.const_experts);
  check_shared_experts(distribution);
  check_algorithm(distribution);
}

void check_token_choices(const Distribution& distribution, const TokenChoices& choices) {
  const at::Tensor& ids = choices.expert_ids;
  TORCH_CHECK_VALUE(ids.dim() == 2, distribution.op, ": expected expert_ids of [tokens, k], got ",
                    ids.sizes());
  TORCH_CHECK_TYPE(ids.scalar_type() == at::kInt, distribution.op,
                   ": expected expert_ids of int32, got ", ids.scalar_type());
  const std::int64_t rows = distribution.global_bs;
  TORCH_CHECK_VALUE(rows == 0 || rows >= ids.size(0), distribution.op,
                    ": expected global_bs of 0 or at least the ", ids.size(0),
                    " tokens of this card, got ", rows);
  check_indices({distribution.op, "expert_ids"}, ids, 0,
                distribution.moe_expert_num + distribution.zero_experts +
                    distribution.copy_experts + distribution.const_experts);
  if (given(choices.active)) check_mask(distribution, choices);
}

at::Tensor active_choices(const TokenChoices& choices) {
  const at::Tensor& ids = choices.expert_ids;
  if (!given(choices.active)) return at::ones(ids.sizes(), ids.options().dtype(at::kBool));
  const at::Tensor& mask = *choices.active;
  return mask.dim() == 1 ? mask.unsqueeze(1).expand(ids.sizes()) : mask;
}

void refuse_given(const char* op, const char* argument, const MaybeTensor& tensor) {
  TORCH_CHECK_NOT_IMPLEMENTED(!given(tensor), op, ": ", argument, " is not built yet; pass None");
}

}  // namespace npu_sim::ops
