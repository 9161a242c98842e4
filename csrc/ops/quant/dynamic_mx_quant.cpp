// npu_dynamic_mx_quant: blocks along an axis share a power of two; and the same along both last
// axes at once.
#include <ATen/core/Tensor.h>

#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/quant/mx.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

// --- work: abs, largest, exponent, scale, round, converts.
constexpr aten::Entry kEntries[] = {
    {"npu_dynamic_mx_quant", quantized_blocks<9>},
    {"npu_dynamic_mx_quant_with_dual_axis", quantized_blocks<18>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
std::tuple<at::Tensor, at::Tensor> dynamic_mx_quant(const at::Tensor& input, std::int64_t axis,
                                                    c10::string_view round_mode,
                                                    std::int64_t dst_type, std::int64_t block_size,
                                                    std::optional<std::int64_t> scale_alg,
                                                    double dst_type_max, double max_low_bound) {
  constexpr const char* kOp = "npu_dynamic_mx_quant";
  constexpr std::int64_t kBlockUnit = 32;
  constexpr std::int64_t kLargestBlock = 1024;
  const std::int64_t algorithm = scale_alg.value_or(0);
  MxTarget target =
      mx_target(kOp, input, {round_mode, dst_type, algorithm, dst_type_max, MxRanged::kE2m1});
  TORCH_CHECK_VALUE(max_low_bound == 0 || (algorithm == 1 && max_low_bound > 0), kOp,
                    ": expected max_low_bound of 0, or above 0 where scale_alg is 1, got ",
                    max_low_bound, " and scale_alg ", algorithm);
  const std::int64_t largest_block = algorithm == 2 ? kBlockUnit : kLargestBlock;
  TORCH_CHECK_VALUE(
      block_size > 0 && block_size <= largest_block && block_size % kBlockUnit == 0, kOp,
      ": expected block_size of 32, 64, ... 1024 (32 where scale_alg is 2), got ", block_size);
  target.axis = axis;
  target.block = block_size;
  target.low_bound = max_low_bound;
  const Quantized result = mx_quantize(kOp, input, target);
  return {result.codes, result.scale};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> dynamic_mx_quant_dual(
    const at::Tensor& input, c10::string_view round_mode, std::int64_t dst_type,
    std::int64_t scale_alg, std::optional<double> dst_type_max) {
  constexpr const char* kOp = "npu_dynamic_mx_quant_with_dual_axis";
  TORCH_CHECK_VALUE(input.dim() >= 2, kOp, ": expected input of two axes or more, got ",
                    input.sizes());
  MxTarget target = mx_target(
      kOp, input, {round_mode, dst_type, scale_alg, dst_type_max.value_or(0), MxRanged::kE2m1});
  const Quantized last = mx_quantize(kOp, input, target);
  target.axis = -2;
  const Quantized before = mx_quantize(kOp, input, target);
  return {last.codes, last.scale, before.codes, before.scale};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&dynamic_mx_quant>(m, "npu_dynamic_mx_quant");
  composed_kernel<&dynamic_mx_quant_dual>(m, "npu_dynamic_mx_quant_with_dual_axis");
}

}  // namespace
}  // namespace npu_sim::ops
