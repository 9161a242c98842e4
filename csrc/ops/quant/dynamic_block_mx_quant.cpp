// npu_dynamic_block_mx_quant: squares of 32 x 32 share a power of two, given along both axes; and
// npu_dynamic_dual_level_mx_quant: a scale in fp32 for 512 elements, then MX blocks of 32.
#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include "aten/describe/registry.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/quant/mx.h"
#include "ops/quant/rectangles.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// --- work: abs, largest, exponent, scale, round, converts; the first level divides and rounds too.
constexpr aten::Entry kEntries[] = {
    {"npu_dynamic_block_mx_quant", quantized_blocks<9>},
    {"npu_dynamic_dual_level_mx_quant", quantized_blocks<14, 1>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// The scale of each element, from codes along the last axis [..., pairs, 2].
at::Tensor spread_scales(const at::Tensor& scale, const at::Tensor& values, std::int64_t block) {
  return decoded_e8m0(scale.flatten(-2))
      .repeat_interleave(block, -1)
      .narrow(-1, 0, values.size(-1));
}

// --- op
Three dynamic_block_mx_quant(const at::Tensor& input, c10::string_view round_mode,
                             std::int64_t dst_type, std::int64_t scale_alg, double dst_type_max) {
  constexpr const char* kOp = "npu_dynamic_block_mx_quant";
  TORCH_CHECK_VALUE(scale_alg == 0 || scale_alg == 2, kOp, ": expected scale_alg 0 or 2, got ",
                    scale_alg);
  TORCH_CHECK_VALUE(dst_type_max == 0 || dst_type_max == 6 || dst_type_max == 7, kOp,
                    ": expected dst_type_max 0, 6 or 7, got ", dst_type_max);
  MxTarget target =
      mx_target(kOp, input, {round_mode, dst_type, scale_alg, dst_type_max, MxRanged::kE2m1});
  TORCH_CHECK_VALUE(input.dim() == 2 || input.dim() == 3, kOp,
                    ": expected input of 2 or 3 axes, got ", input.sizes());
  const Rectangle square{.rows = target.block, .columns = target.block};
  const at::Tensor values = input.to(at::kFloat);
  const at::Tensor largest = spread(largest_magnitudes(values, square), values, square);
  const at::Tensor across = mx_quantize(kOp, largest, target).scale;
  target.axis = -2;
  const at::Tensor down = mx_quantize(kOp, largest, target).scale;
  const at::Tensor ratio = values / spread_scales(across, values, target.block);
  return {encoded(kOp, ratio, target.element, target.rounding), across, down};
}

// Rows of the last axis, padded with zeros to whole blocks of the first level by the rectangles.
Three dynamic_dual_level_mx_quant(const at::Tensor& input, const MaybeTensor& smooth_scale,
                                  c10::string_view round_mode) {
  constexpr const char* kOp = "npu_dynamic_dual_level_mx_quant";
  constexpr std::int64_t kE2m1 = 296;
  constexpr Rectangle kFirstLevel{.rows = 1, .columns = 512};
  const MxTarget target = mx_target(kOp, input, {round_mode, kE2m1});
  TORCH_CHECK_VALUE(input.dim() > 0 && input.numel() > 0, kOp,
                    ": expected input with elements, got ", input.sizes());
  at::Tensor values = input.to(at::kFloat).reshape({-1, input.size(-1)});
  if (given(smooth_scale)) {
    TORCH_CHECK_TYPE(smooth_scale->scalar_type() == input.scalar_type(), kOp,
                     ": expected smooth_scale of ", input.scalar_type(),
                     ", the dtype of input, got ", smooth_scale->scalar_type());
    TORCH_CHECK_VALUE(smooth_scale->dim() == 1 && smooth_scale->size(0) == input.size(-1), kOp,
                      ": expected smooth_scale of [", input.size(-1), "], got ",
                      smooth_scale->sizes());
    values = values * smooth_scale->to(at::kFloat);
  }
  const at::Tensor first =
      largest_magnitudes(values, kFirstLevel) / compute::largest(Element::kE2m1);
  const at::Tensor divisor = spread(first, values, kFirstLevel);
  const at::Tensor rest = at::where(divisor == 0, 0.0, values / divisor).to(input.scalar_type());
  const Quantized second = mx_quantize(kOp, rest.view(input.sizes()), target);
  std::vector<std::int64_t> sizes = input.sizes().vec();
  sizes.back() = first.size(-1);
  return {second.codes, first.view(sizes), second.scale};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&dynamic_block_mx_quant>(m, "npu_dynamic_block_mx_quant");
  composed_kernel<&dynamic_dual_level_mx_quant>(m, "npu_dynamic_dual_level_mx_quant");
}

}  // namespace
}  // namespace npu_sim::ops
