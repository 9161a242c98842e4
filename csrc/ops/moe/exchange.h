// What the cards of a group send each other inside a fused operator. Groups of one card are built:
// a card gets what it sends to itself. Larger groups raise NotImplementedError where they are
// named, so that the operators need not ask; an exchange between cards goes behind these functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "ops/format/element_of.h"

namespace npu_sim::ops {

struct CardGroup {
  const char* op;
  std::int64_t size = 1;
  std::int64_t rank = 0;
};

// A group whose size the caller says. `name` is the argument that holds it. Raises ValueError for a
// size below 1 or a rank outside of the group, NotImplementedError for more than one card.
[[nodiscard]] CardGroup group_of(ArgumentName name, std::int64_t size, std::int64_t rank = 0);

// A group known only by its name, as torch.distributed gives it; the empty name is a group of the
// card alone. Raises NotImplementedError for any other name: no group is registered here yet, and a
// guess at its size would be a guess at the result.
[[nodiscard]] CardGroup group_named(ArgumentName name, std::string_view group);

// Rows sorted by the card they go to, send[i] of them to card i; returns those that came, recv[i]
// of them from card i, in the order of the cards. Raises ValueError where the counts do not fit.
[[nodiscard]] at::Tensor all_to_all(const CardGroup& group, const at::Tensor& rows,
                                    at::IntArrayRef send, at::IntArrayRef recv);

// The tensors of all cards one after another along axis 0.
[[nodiscard]] at::Tensor all_gather(const CardGroup& group, const at::Tensor& mine);

// The sum over the cards, of which each keeps its part along axis 0.
[[nodiscard]] at::Tensor reduce_scatter(const CardGroup& group, const at::Tensor& mine);

// The sum over the cards.
[[nodiscard]] at::Tensor all_reduce(const CardGroup& group, const at::Tensor& mine);

}  // namespace npu_sim::ops
