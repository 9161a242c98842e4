// Kernels whose time is in the cube: products, convolution, attention.
#pragma once

#include <cstdint>

#include "base/format.h"
#include "base/units.h"
#include "model/work/group_sizes.h"

namespace npu_sim::model {

using base::Bytes;
using base::Format;

// batch x ([m, k] @ [k, n]) on the cube; the cost knows the bytes from shapes and formats.
struct MatmulWork {
  std::int64_t batch = 1;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  Format a = Format::kFp32;
  Format b = Format::kFp32;
  Format out = Format::kFp32;
  bool a_transposed = false;
  bool b_transposed = false;
  bool b_shared = false;    // one [k, n] for the whole batch
  bool adds_input = false;  // reads a bias or an accumulator; one row of n unless `added` says more
  Bytes added{};            // bytes of the bias or accumulator, where it is larger than one row

  bool operator==(const MatmulWork&) const = default;
};

// [rows_g, k] @ [k, n] for every group g, each with a right operand of its own.
struct GroupedMatmulWork {
  GroupSizes rows{};
  std::int64_t n = 0;
  std::int64_t k = 0;
  Format a = Format::kBf16;
  Format b = Format::kBf16;
  Format out = Format::kBf16;

  bool operator==(const GroupedMatmulWork&) const = default;
};

enum class ConvolutionPass : std::uint8_t { kForward, kInputGrad, kWeightGrad };

// Convolution as the cube sees it (implicit matmul); spatial sizes are products over all axes.
struct ConvolutionWork {
  ConvolutionPass pass = ConvolutionPass::kForward;
  std::int64_t batch = 0;
  std::int64_t groups = 1;
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t in_positions = 0;
  std::int64_t out_positions = 0;
  std::int64_t kernel_positions = 0;
  Format format = Format::kFp32;

  bool operator==(const ConvolutionWork&) const = default;
};

// softmax(q k^T) v, fused: scores never leave the chip.
struct AttentionWork {
  std::int64_t batch = 0;
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;
  std::int64_t qk_dim = 0;
  std::int64_t v_dim = 0;
  Format format = Format::kBf16;
  bool causal = false;
  bool backward = false;
  Bytes mask{};             // bytes of an explicit mask that is read
  bool v_in_k = false;      // v is the first v_dim of k (absorbed MLA): read once, v moves no bytes
  std::int64_t window = 0;  // keys before its own that a query sees; 0: all of them
  std::int64_t kv_block = 0;  // keys that lie together (a page; 1: gathered one by one); 0: all
  Bytes kv_row{};  // of a key and its value where a cache stores them quantised; 0: as `format`

  bool operator==(const AttentionWork&) const = default;
};

}  // namespace npu_sim::model
