// Rows of tokens in the codes that a quant_mode of the MoE operators asks for.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "compute/format/element.h"
#include "ops/optional_tensor.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {

struct RoutedRows {
  at::Tensor values;  // [rows, hidden], zeros where there is no row
  at::Tensor there;   // [rows], bool
  at::Tensor expert;  // [rows], int64: which row of `scale` is the row's own
};

struct RowQuantisation {
  std::int64_t mode = -1;
  const MaybeTensor& scale;
  const MaybeTensor& offset;
  std::int64_t experts = 0;  // rows that `scale` may have
};

// Raises unless npu_moe_init_routing_v2 has such a mode, for `x` of this dtype and width, and
// unless scale and offset are those that it needs.
void check_quantisation(const char* op, const at::Tensor& x, const RowQuantisation& quantisation);

// Codes of the rows, and what the operator returns as their scales: zeros of [rows] for a mode
// without scales of its own.
[[nodiscard]] Quantized routed_codes(const char* op, const RoutedRows& rows,
                                     const RowQuantisation& quantisation);

// `size` elements of the last axis share a scale; a block counts as at least `least` large.
struct ScaledBlocks {
  compute::Element element = compute::Element::kE4m3;
  std::int64_t size = 32;
  double least = 0;
};

// Scales are powers of two, max / largest rounded up, as E8M0 codes (uint8), their number even. The
// magnitudes of float16 count without what bfloat16 has no bits for.
[[nodiscard]] Quantized mx_row_codes(const char* op, const at::Tensor& values,
                                     const ScaledBlocks& blocks);

// Scales are max / largest in fp32, one a block; those below the smallest normal number are 0.
[[nodiscard]] Quantized tile_row_codes(const char* op, const at::Tensor& values,
                                       const ScaledBlocks& blocks);

// The same rounded up to powers of two.
[[nodiscard]] Quantized group_row_codes(const char* op, const at::Tensor& values,
                                        const ScaledBlocks& blocks);

}  // namespace npu_sim::ops
