// Scales of blocks along the last axis, rounded up to powers of two.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace npu_sim::ops {

// The last axis as [blocks, block], the last block filled up with zeros.
[[nodiscard]] at::Tensor in_blocks(const at::Tensor& values, std::int64_t block);

struct PowerScales {
  at::Tensor power;  // fp32
  at::Tensor code;   // E8M0 in uint8
};

// The least powers of two that are not below `scale` (fp32, not negative): 0 and code 0 for 0.
// Source: fast_round_scale in cann-recipes-infer@fbc225d, test_npu_indexer_compress_epilog.py.
[[nodiscard]] PowerScales powers_above(const at::Tensor& scale);

}  // namespace npu_sim::ops
