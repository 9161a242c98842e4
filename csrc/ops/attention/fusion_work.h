// The work of training attention, from the shapes and lengths of a finished call.
#pragma once

#include "aten/describe/call.h"

namespace npu_sim::ops {

// Which arguments of a schema say what.
struct FusionArguments {
  std::size_t head_num;
  std::size_t layout;
  std::size_t bias;
  std::size_t mask;
  std::size_t query_rope;
  std::size_t pre_tokens;  // next_tokens follows
  std::size_t prefix;      // actual_seq_qlen, actual_seq_kvlen and sparse_mode follow
  bool backward;
};

// Query, key and value are the first three arguments.
[[nodiscard]] model::Work fusion_work(const aten::Call& call, const FusionArguments& where);

}  // namespace npu_sim::ops
