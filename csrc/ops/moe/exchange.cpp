#include "ops/moe/exchange.h"

#include <c10/util/Exception.h>
#include <c10/util/accumulate.h>

namespace npu_sim::ops {
namespace {

void check_single(const CardGroup& group) {
  TORCH_INTERNAL_ASSERT(group.size == 1, group.op, ": a group of ", group.size,
                        " cards was let through");
}

void check_counts(const CardGroup& group, const char* counts, at::IntArrayRef each,
                  std::int64_t rows) {
  for (const std::int64_t count : each) {
    TORCH_CHECK_VALUE(count >= 0, group.op, ": expected ", counts, " of 0 or more, got ", each);
  }
  TORCH_CHECK_VALUE(c10::sum_integers(each) == rows, group.op, ": expected ", counts,
                    " that add up to ", rows, " rows, got ", each);
}

}  // namespace

CardGroup group_of(ArgumentName name, std::int64_t size, std::int64_t rank) {
  TORCH_CHECK_VALUE(size >= 1, name.op, ": expected ", name.argument, " of 1 or more, got ", size);
  TORCH_CHECK_VALUE(rank >= 0 && rank < size, name.op, ": expected a rank below ", name.argument,
                    " = ", size, ", got ", rank);
  TORCH_CHECK_NOT_IMPLEMENTED(size == 1, name.op, ": ", name.argument, " of ", size,
                              " is not built yet; one card can be simulated (world size 1)");
  return {.op = name.op, .size = size, .rank = rank};
}

CardGroup group_named(ArgumentName name, std::string_view group) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      group.empty(), name.op, ": the group ", name.argument, "='", group,
      "' is not known to the simulator; pass '' for a group of this card alone");
  return {.op = name.op};
}

at::Tensor all_to_all(const CardGroup& group, const at::Tensor& rows, at::IntArrayRef send,
                      at::IntArrayRef recv) {
  check_single(group);
  check_counts(group, "send counts", send, rows.size(0));
  check_counts(group, "receive counts", recv, rows.size(0));
  TORCH_CHECK_VALUE(send == recv, group.op, ": expected receive counts equal to the send counts ",
                    send, " in a group of one card, got ", recv);
  return rows;
}

at::Tensor all_gather(const CardGroup& group, const at::Tensor& mine) {
  check_single(group);
  return mine;
}

at::Tensor reduce_scatter(const CardGroup& group, const at::Tensor& mine) {
  check_single(group);
  return mine;
}

at::Tensor all_reduce(const CardGroup& group, const at::Tensor& mine) {
  check_single(group);
  return mine;
}

}  // namespace npu_sim::ops
