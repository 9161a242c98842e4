// The work of a finished call of inference attention.
#pragma once

#include <cstddef>
#include <optional>

#include "aten/describe/call.h"

namespace npu_sim::ops {

constexpr std::size_t kNoArgument = 1000;

// Which arguments of an operator's schema say what; query, key and value are the first three.
struct InferPlaces {
  std::size_t query_lengths = kNoArgument;
  std::size_t key_lengths = kNoArgument;
  std::size_t block_table = kNoArgument;
  std::size_t query_rope = kNoArgument;
  std::size_t key_prefix = kNoArgument;
  std::size_t bias = kNoArgument;
  std::size_t mask = kNoArgument;
  std::size_t heads = kNoArgument;
  std::size_t kv_heads = kNoArgument;
  std::size_t layout = kNoArgument;
  std::size_t sparse_mode = kNoArgument;
  std::size_t pre_tokens = kNoArgument;
  std::size_t query_dtype = kNoArgument;
};

// One attention over the actual lengths: pages that no sequence uses are not read. Sequences of
// different lengths are taken as those of the same number of scores.
[[nodiscard]] model::Work infer_work(const aten::Call& call, const InferPlaces& places);

}  // namespace npu_sim::ops
