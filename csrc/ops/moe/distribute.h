// What dispatch and combine of tokens between cards have in common.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "ops/moe/exchange.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {

struct Distribution {
  const char* op;
  std::int64_t ep_world_size;
  std::int64_t ep_rank_id;
  std::int64_t moe_expert_num;
  std::int64_t tp_world_size = 0;
  std::int64_t expert_shard_type = 0;
  std::int64_t shared_expert_num = 1;
  std::int64_t shared_expert_rank_num = 0;
  std::int64_t global_bs = 0;
  std::string_view comm_alg;
  // Experts that no card computes; their numbers follow those of the others in this order.
  std::int64_t zero_experts = 0;   // contribute nothing
  std::int64_t copy_experts = 0;   // contribute the token itself
  std::int64_t const_experts = 0;  // contribute alpha_1 token + alpha_2 v
};

// Choices of tokens as both operators get them.
struct TokenChoices {
  const at::Tensor& expert_ids;  // [tokens, k], int32
  const MaybeTensor&
      active;  // x_active_mask, bool: [tokens], its true values first, or [tokens, k]
};

// Raises ValueError for what op-plugin refuses, NotImplementedError for more than one card.
void check_distribution(const Distribution& distribution);

// The cards that share the experts.
[[nodiscard]] CardGroup expert_group(const Distribution& distribution);

// Raises unless expert_ids and the mask have their dtypes and shapes and every expert exists.
void check_token_choices(const Distribution& distribution, const TokenChoices& choices);

// Which choices count, bool of [tokens, k].
[[nodiscard]] at::Tensor active_choices(const TokenChoices& choices);

// NotImplementedError, as by `op`, for an argument that was given though nothing here reads it.
void refuse_given(const char* op, const char* argument, const MaybeTensor& tensor);

}  // namespace npu_sim::ops
