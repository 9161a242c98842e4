// npu_grouped_dynamic_block_quant and npu_grouped_dynamic_mx_quant: rectangles, or MX blocks along
// rows, that start anew with each group of rows.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>

#include "aten/describe/registry.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/quant/groups.h"
#include "ops/quant/mx.h"
#include "ops/quant/quantized.h"
#include "ops/quant/rectangles.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

// --- work: as the operators without groups.
constexpr aten::Entry kEntries[] = {
    {"npu_grouped_dynamic_block_quant", quantized_blocks<7>},
    {"npu_grouped_dynamic_mx_quant", quantized_blocks<9>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using Two = std::tuple<at::Tensor, at::Tensor>;
constexpr const char* kBlockOp = "npu_grouped_dynamic_block_quant";

void check_x(const char* op, const at::Tensor& x) {
  TORCH_CHECK_TYPE(x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16, op,
                   ": expected x of float16 or bfloat16, got ", x.scalar_type());
}

Target block_target(std::int64_t dst_type, c10::string_view round_mode, double dst_type_max) {
  const Element element = require_element({.op = kBlockOp, .argument = "dst_type"}, dst_type);
  const bool tapers = element == Element::kHifloat8;
  TORCH_CHECK_VALUE(tapers || element == Element::kE4m3 || element == Element::kE5m2, kBlockOp,
                    ": expected dst_type of fp8 or hifloat8, got ", dst_type);
  const double most = tapers ? compute::largest(element) : 0;
  TORCH_CHECK_VALUE(dst_type_max >= 0 && dst_type_max <= most, kBlockOp,
                    ": expected dst_type_max of 0 to ", most, " with this dst_type, got ",
                    dst_type_max);
  return {.element = element,
          .largest = dst_type_max,
          .rounding = static_rounding(kBlockOp, element, round_mode)};
}

void check_rectangle(const Rectangle& block) {
  constexpr std::array<std::int64_t, 4> kRows{1, 128, 256, 512};
  constexpr std::array<std::int64_t, 4> kColumns{64, 128, 192, 256};
  TORCH_CHECK_VALUE(std::ranges::find(kRows, block.rows) != kRows.end(), kBlockOp,
                    ": expected row_block_size of 1, 128, 256 or 512, got ", block.rows);
  TORCH_CHECK_VALUE(std::ranges::find(kColumns, block.columns) != kColumns.end(), kBlockOp,
                    ": expected col_block_size of 64, 128, 192 or 256, got ", block.columns);
}

// Scales of group g begin at begin / rows + g: room for every way to divide the rows.
Two grouped_dynamic_block_quant(const at::Tensor& x, const at::Tensor& group_list, double min_scale,
                                c10::string_view round_mode, std::int64_t dst_type,
                                std::int64_t row_block_size, std::int64_t col_block_size,
                                std::int64_t group_list_type, double dst_type_max) {
  check_x(kBlockOp, x);
  TORCH_CHECK_VALUE(x.dim() == 2 || x.dim() == 3, kBlockOp, ": expected x of 2 or 3 axes, got ",
                    x.sizes());
  TORCH_CHECK_VALUE(min_scale >= 0, kBlockOp, ": expected min_scale of 0 or more, got ", min_scale);
  TORCH_CHECK_VALUE(group_list_type == 0, kBlockOp, ": expected group_list_type 0 (ends), got ",
                    group_list_type);
  const Rectangle block{.rows = row_block_size, .columns = col_block_size};
  check_rectangle(block);
  const Target target = block_target(dst_type, round_mode, dst_type_max);
  const RowGroups groups = row_groups({.op = kBlockOp, .argument = "group_list"}, group_list,
                                      GroupList::kEnds, x.size(-2));
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes[sizes.size() - 2] = x.size(-2) / block.rows + groups.count;
  sizes.back() = (x.size(-1) + block.columns - 1) / block.columns;
  const at::Tensor scales = at::zeros(sizes, x.options().dtype(at::kFloat));
  const at::Tensor codes = at::zeros(x.sizes(), x.options().dtype(carrier(target.element)));
  if (x.is_meta() || x.numel() == 0) return {codes, scales};
  for (std::int64_t group = 0; group < groups.count; ++group) {
    const std::int64_t begin = groups.begin(group);
    if (groups.rows(group) == 0) continue;
    const at::Tensor values = x.narrow(-2, begin, groups.rows(group)).to(at::kFloat);
    const at::Tensor scale =
        bounded_scales(largest_magnitudes(values, block), largest_of(target), min_scale);
    scales.narrow(-2, begin / block.rows + group, scale.size(-2)).copy_(scale);
    codes.narrow(-2, begin, values.size(-2))
        .copy_(codes_of(kBlockOp, values, spread(scale, values, block), target));
  }
  return {codes, scales};
}

Two grouped_dynamic_mx_quant(const at::Tensor& x, const at::Tensor& group_index,
                             c10::string_view round_mode, std::int64_t dst_type,
                             std::int64_t blocksize, std::optional<std::int64_t> scale_alg,
                             std::optional<double> dst_type_max) {
  constexpr const char* kOp = "npu_grouped_dynamic_mx_quant";
  const MxTarget target = mx_target(
      kOp, x,
      {round_mode, dst_type, scale_alg.value_or(0), dst_type_max.value_or(0), MxRanged::kFp4});
  TORCH_CHECK_VALUE(x.dim() == 2, kOp, ": expected x of [rows, columns], got ", x.sizes());
  TORCH_CHECK_VALUE(blocksize == target.block, kOp, ": expected blocksize 32, got ", blocksize);
  const RowGroups groups =
      row_groups({.op = kOp, .argument = "group_index"}, group_index, GroupList::kEnds, x.size(0));
  const Quantized result = mx_quantize_groups(kOp, x, target, groups, MxGroupScales::kByRow);
  return {result.codes, result.scale};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&grouped_dynamic_block_quant>(m, "npu_grouped_dynamic_block_quant");
  composed_kernel<&grouped_dynamic_mx_quant>(m, "npu_grouped_dynamic_mx_quant");
}

}  // namespace
}  // namespace npu_sim::ops
