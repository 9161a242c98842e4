// npu_trans_quant_param, and what others read from its result.
#include "ops/matmul/packed_scale.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/round.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_trans_quant_param";
constexpr std::int64_t kDroppedBits = 13;
constexpr std::int64_t kFactorBits = 0xFFFFE000;
constexpr std::int64_t kFlag = std::int64_t{1} << 46;
constexpr std::int64_t kOffsetShift = 37;
constexpr std::int64_t kOffsetBits = 0x1FF;
constexpr std::int64_t kLargestOffset = 255;

// --- work: mask and flag; with an offset also round, clamp, shift and combine.
model::Work describe_packing(const aten::Call& call) {
  return aten::element_wise(call, aten::tensor_at(call, 1).defined() ? 7 : 2, 0);
}
constexpr aten::Entry kEntries[] = {{kOp, describe_packing}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

at::Tensor bits_of(const at::Tensor& floats) {
  return floats.contiguous().view(at::kInt).to(at::kLong).bitwise_and(0xFFFFFFFF);
}

// Half a step below the last kept bit, and one more where that bit is odd.
at::Tensor rounded(const at::Tensor& bits) {
  const at::Tensor odd = bits.bitwise_right_shift(kDroppedBits).bitwise_and(1);
  return bits + odd + ((1 << (kDroppedBits - 1)) - 1);
}

// --- op
at::Tensor npu_trans_quant_param(const at::Tensor& scale, const MaybeTensor& offset,
                                 std::optional<std::int64_t> round_mode) {
  TORCH_CHECK_TYPE(scale.scalar_type() == at::kFloat, kOp, ": expected scale of float32, got ",
                   scale.scalar_type());
  const std::int64_t mode = round_mode.value_or(0);
  TORCH_CHECK_VALUE(mode == 0 || mode == 1, kOp,
                    ": expected round_mode of 0 (truncate) or 1 (round), got ", mode);
  const bool two_axes = scale.dim() == 2 && scale.size(0) == 1;
  TORCH_CHECK_VALUE(scale.dim() == 1 || two_axes, kOp, ": expected scale of [t] or [1, n], got ",
                    scale.sizes());
  if (!given(offset)) return packed_scale(scale, {}, mode == 1);
  TORCH_CHECK_TYPE(offset->scalar_type() == at::kFloat, kOp, ": expected offset of float32, got ",
                   offset->scalar_type());
  const bool fits =
      offset->dim() == scale.dim() && (two_axes ? offset->size(0) == 1 : true) &&
      (offset->size(-1) == scale.size(-1) || offset->size(-1) == 1 || scale.size(-1) == 1);
  TORCH_CHECK_VALUE(fits, kOp, ": expected offset of scale's shape ", scale.sizes(),
                    ", or one of them of a single number, got ", offset->sizes());
  return packed_scale(scale, *offset, mode == 1);
}

}  // namespace

bool is_packed(const at::Tensor& scale) {
  return scale.scalar_type() == at::kLong || scale.scalar_type() == at::kUInt64;
}

at::Tensor packed_scale(const at::Tensor& scale, const at::Tensor& offset, bool rounds) {
  const at::Tensor bits = bits_of(scale);
  const at::Tensor factors = (rounds ? rounded(bits) : bits).bitwise_and(kFactorBits) + kFlag;
  if (!offset.defined()) return factors;
  const at::Tensor whole =
      at::round(offset).clamp(-kLargestOffset - 1, kLargestOffset).to(at::kLong);
  return factors + whole.bitwise_and(kOffsetBits).bitwise_left_shift(kOffsetShift);
}

at::Tensor factors_of(const at::Tensor& packed) {
  // The lower half of each, which comes first in memory.
  const at::Tensor halves = packed.contiguous().view(at::kInt).unflatten(-1, {-1, 2});
  return halves.select(-1, 0)
      .bitwise_and(static_cast<std::int32_t>(kFactorBits))
      .contiguous()
      .view(at::kFloat);
}

at::Tensor offsets_of(const at::Tensor& packed) {
  const at::Tensor bits = packed.contiguous()
                              .view(at::kLong)
                              .bitwise_right_shift(kOffsetShift)
                              .bitwise_and(kOffsetBits);
  // Nine bits with a sign.
  return (bits - (bits > kLargestOffset).to(at::kLong) * (kOffsetBits + 1)).to(at::kFloat);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&npu_trans_quant_param>(m, kOp); }

}  // namespace npu_sim::ops
