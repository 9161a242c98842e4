// npu_dynamic_block_quant: one fp32 scale a rectangle of the last two axes.
#include <ATen/core/Tensor.h>

#include "aten/describe/registry.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/quant/quantized.h"
#include "ops/quant/rectangles.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_dynamic_block_quant";

// --- work
constexpr aten::Entry kEntries[] = {{"npu_dynamic_block_quant", quantized_blocks<7>}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check(const at::Tensor& x, double min_scale, c10::string_view round_mode,
           const Rectangle& block) {
  TORCH_CHECK_TYPE(x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16, kOp,
                   ": expected x of float16 or bfloat16, got ", x.scalar_type());
  TORCH_CHECK_VALUE(x.dim() == 2 || x.dim() == 3, kOp, ": expected x of 2 or 3 axes, got ",
                    x.sizes());
  TORCH_CHECK_VALUE(min_scale >= 0, kOp, ": expected min_scale of 0 or more, got ", min_scale);
  TORCH_CHECK_VALUE(round_mode == "rint" || round_mode == "round", kOp,
                    ": expected round_mode rint or round, got '", round_mode, "'");
  TORCH_CHECK_VALUE(block.rows > 0 && block.columns > 0, kOp,
                    ": expected row_block_size and col_block_size above 0, got ", block.rows,
                    " and ", block.columns);
}

std::tuple<at::Tensor, at::Tensor> dynamic_block_quant(
    const at::Tensor& x, double min_scale, c10::string_view round_mode, std::int64_t dst_type,
    std::int64_t row_block_size, std::int64_t col_block_size, double dst_type_max) {
  const Rectangle block{.rows = row_block_size, .columns = col_block_size};
  check(x, min_scale, round_mode, block);
  const Element element = require_element({.op = kOp, .argument = "dst_type"}, dst_type);
  TORCH_CHECK_VALUE(compute::bits(element) == 8, kOp,
                    ": expected dst_type of int8, fp8 or hifloat8, got ", dst_type);
  TORCH_CHECK_VALUE(dst_type_max >= 0, kOp, ": expected dst_type_max above 0, or 0, got ",
                    dst_type_max);
  const Target target{
      .element = element,
      .largest = dst_type_max,
      .rounding = round_mode == "rint" ? compute::Rounding::kRint : compute::Rounding::kRound};
  const at::Tensor values = x.to(at::kFloat);
  const at::Tensor scale =
      bounded_scales(largest_magnitudes(values, block), largest_of(target), min_scale);
  return {codes_of(kOp, values, spread(scale, values, block), target), scale};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&dynamic_block_quant>(m, "npu_dynamic_block_quant");
}

}  // namespace
}  // namespace npu_sim::ops
