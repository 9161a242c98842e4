// The MX formats: blocks along one axis share a power of two.
// Source: OCP Microscaling Formats 1.0; layout of torch_npu's scales: npu_dynamic_mx_quant in
// Ascend/op-plugin.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "compute/format/element.h"
#include "ops/quant/groups.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {

// How the shared power of two follows from the largest magnitude of a block.
enum class MxScale : std::uint8_t {
  kFloor,  // floor(log2(max)) - exponent of the element's largest value: OCP's; may saturate
  kCeil,   // max / largest, rounded up to a power of two: nothing saturates
};

struct MxTarget {
  compute::Element element = compute::Element::kE4m3;
  std::int64_t axis = -1;
  std::int64_t block = 32;
  MxScale scale = MxScale::kFloor;
  compute::Rounding rounding = compute::Rounding::kRint;
  double largest = 0;    // of kCeil: what max is divided by; 0: the element's largest
  double low_bound = 0;  // a block's max is at least this
};

// Which formats an operator knows scale_alg 2 for.
enum class MxRanged : std::uint8_t { kNone, kE2m1, kFp4 };

// The arguments as torch_npu's operators have them.
struct MxOptions {
  std::string_view round_mode;
  std::int64_t dst_type;
  std::int64_t scale_alg = 0;
  double dst_type_max = 0;
  MxRanged ranged = MxRanged::kNone;
};

// What they ask for, in blocks of 32 along the last axis. Raises TypeError unless `input` is
// float16 or bfloat16, ValueError for options that the card refuses.
// scale_alg 2 (fp4) is 1 with dst_type_max in the place of the element's largest value.
[[nodiscard]] MxTarget mx_target(const char* op, const at::Tensor& input, const MxOptions& options);

// Codes of `values` and E8M0 codes of the scales in uint8: the axis holds ceil(ceil(n / block) / 2)
// pairs, a last axis of 2 the pair; the second half of an odd last pair is 0. A block of zeros has
// scale code 0; one that holds NaN or infinity has 0xFF (NaN), its elements are NaN.
// Raises IndexError, as by `op`, for an axis that `values` does not have.
[[nodiscard]] Quantized mx_quantize(const char* op, const at::Tensor& values,
                                    const MxTarget& target);

// Where the scales of a group of rows begin, in pairs of blocks.
enum class MxGroupScales : std::uint8_t {
  kByRow,  // at begin / (2 block) + group: room for every way to divide the rows
  kDense,  // behind those of the group before
};

// The same along the axis before the last of `values` [rows, columns], where blocks start anew with
// each group of rows: scales [rows / (2 block) + groups, columns, 2]. Rows of no group, and places
// of no block, are 0.
[[nodiscard]] Quantized mx_quantize_groups(const char* op, const at::Tensor& values,
                                           const MxTarget& target, const RowGroups& groups,
                                           MxGroupScales places);

}  // namespace npu_sim::ops
