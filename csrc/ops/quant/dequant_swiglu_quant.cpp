// npu_dequant_swiglu_quant: the accumulators of a quantised product, dequantised, through a SwiGLU
// and quantised again, by the scales of a row's group.
#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <array>
#include <cmath>

#include "aten/describe/registry.h"
#include "ops/activation/gated_halves.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/groups.h"
#include "ops/quant/quantized.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_dequant_swiglu_quant";
constexpr std::int64_t kDynamic = 1;

// --- work: convert, two scales and a bias of both halves, SwiGLU (3 and 2; 5 more clipped),
// smooth, then as npu_dynamic_quant, or scale, offset, round and converts.
model::Work describe(const aten::Call& call) {
  constexpr std::size_t kGroups = 6;
  constexpr std::size_t kQuantMode = 8;
  constexpr std::size_t kGluMode = 12;
  const std::int64_t rows = covered_rows(call, {.list = kGroups, .counts = true});
  const bool dynamic = aten::integer_at(call, kQuantMode, 0) == kDynamic;
  const int clips = aten::integer_at(call, kGluMode, 0) == 0 ? 0 : 5;
  return gated_work(call, rows,
                    {.linear = (dynamic ? 25 : 17) + clips, .special = 2, .rows = dynamic});
}
constexpr aten::Entry kEntries[] = {{"npu_dequant_swiglu_quant", describe}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Arguments {
  const at::Tensor& x;
  std::int64_t axis;  // of the halves
  std::optional<RowGroups> groups;

  [[nodiscard]] bool halves_last() const { return axis == x.dim() - 1; }
  [[nodiscard]] std::int64_t rows() const { return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1); }
  [[nodiscard]] std::int64_t group_count() const { return groups ? groups->count : 1; }
};

// Vectors of `columns` of a parameter by rows: one for all, or one a group; 0 for rows of no group.
at::Tensor by_group(const char* argument, const at::Tensor& parameter, std::int64_t columns,
                    const Arguments& arguments) {
  const std::int64_t groups = arguments.group_count();
  TORCH_CHECK_VALUE(parameter.numel() == groups * columns, kOp, ": expected ", argument, " of [",
                    groups, ", ", columns, "], got ", parameter.sizes());
  const at::Tensor all = widened(parameter).reshape({groups, columns});
  return arguments.groups ? by_row(all, *arguments.groups, arguments.rows(), 0) : all;
}

void check_x(const at::Tensor& x, const MaybeTensor& weight_scale,
             const MaybeTensor& activation_scale, const MaybeTensor& bias) {
  const bool integers = x.scalar_type() == at::kInt;
  TORCH_CHECK_TYPE(integers || x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16,
                   kOp, ": expected x of int32, float16 or bfloat16, got ", x.scalar_type());
  TORCH_CHECK_VALUE(x.dim() > 1 && x.size(-1) > 0, kOp,
                    ": expected x of two axes or more with elements along the last, got ",
                    x.sizes());
  TORCH_CHECK_VALUE(!integers || given(weight_scale), kOp,
                    ": expected weight_scale with x of int32, got None");
  TORCH_CHECK_VALUE(integers || (!given(weight_scale) && !given(activation_scale) && !given(bias)),
                    kOp, ": expected no weight_scale, activation_scale and bias with x of ",
                    x.scalar_type());
  TORCH_CHECK_TYPE(!given(weight_scale) || weight_scale->scalar_type() == at::kFloat, kOp,
                   ": expected weight_scale of float32");
  TORCH_CHECK_TYPE(!given(activation_scale) || activation_scale->scalar_type() == at::kFloat, kOp,
                   ": expected activation_scale of float32");
}

// x in fp32, [rows, last axis]: an int32 bias counts before the scales, another one after them.
at::Tensor dequantised(const Arguments& arguments, const MaybeTensor& weight_scale,
                       const MaybeTensor& activation_scale, const MaybeTensor& bias) {
  const std::int64_t columns = arguments.x.size(-1);
  at::Tensor values = arguments.x.reshape({arguments.rows(), columns});
  if (values.scalar_type() != at::kInt) return widened(values);
  const bool first = given(bias) && bias->scalar_type() == at::kInt;
  if (first) {
    const std::int64_t groups = arguments.group_count();
    TORCH_CHECK_VALUE(bias->numel() == groups * columns, kOp, ": expected bias of [", groups, ", ",
                      columns, "], got ", bias->sizes());
    const at::Tensor all = bias->reshape({groups, columns});
    values =
        values + (arguments.groups ? by_row(all, *arguments.groups, arguments.rows(), 0) : all);
  }
  values = values.to(at::kFloat) * by_group("weight_scale", *weight_scale, columns, arguments);
  if (given(activation_scale)) {
    TORCH_CHECK_VALUE(activation_scale->numel() == arguments.rows(), kOp,
                      ": expected activation_scale of one a row, ", arguments.rows(), ", got ",
                      activation_scale->sizes());
    values = values * activation_scale->reshape({-1, 1});
  }
  if (!given(bias) || first) return values;
  return values + by_group("bias", *bias, columns, arguments);
}

struct Glu {
  bool activate_left;
  std::int64_t mode;  // 0: SwiGLU; 1: clipped, gate and value in turn; 2: clipped, side by side
  ClippedProduct clip;
};

void check_glu(const Glu& glu) {
  TORCH_CHECK_VALUE(glu.mode >= 0 && glu.mode <= 2, kOp, ": expected swiglu_mode 0, 1 or 2, got ",
                    glu.mode);
  TORCH_CHECK_VALUE(std::isfinite(glu.clip.limit) && glu.clip.limit > 0, kOp,
                    ": expected a finite clamp_limit above 0, got ", glu.clip.limit);
  TORCH_CHECK_VALUE(std::isfinite(glu.clip.alpha) && std::isfinite(glu.clip.bias), kOp,
                    ": expected finite glu_alpha and glu_bias, got ", glu.clip.alpha, " and ",
                    glu.clip.bias);
}

at::Tensor product_of(const at::Tensor& values, std::int64_t axis, const Glu& glu) {
  if (glu.mode == 1) return clipped_product(interleaved_halves(kOp, values, axis), glu.clip);
  const GatedHalves halves = gated_halves(kOp, values, axis, glu.activate_left);
  return glu.mode == 0 ? silu_product(halves) : clipped_product(halves, glu.clip);
}

// rint for integers and fp8, round for hifloat8; fp4 knows all five.
Target target_of(std::int64_t dst_type, std::int64_t round_mode) {
  constexpr std::array kModes{compute::Rounding::kRint, compute::Rounding::kRound,
                              compute::Rounding::kFloor, compute::Rounding::kCeil,
                              compute::Rounding::kTrunc};
  TORCH_CHECK_VALUE(round_mode >= 0 && round_mode < 5, kOp,
                    ": expected round_mode 0 (rint), 1 (round), 2 (floor), 3 (ceil) or 4 (trunc), "
                    "got ",
                    round_mode);
  const Element element = require_element({.op = kOp, .argument = "dst_type"}, dst_type);
  const compute::Rounding rounding = kModes.at(static_cast<std::size_t>(round_mode));
  TORCH_CHECK_VALUE(element != Element::kInt4, kOp,
                    ": expected dst_type of int8, fp8, hifloat8 or fp4, got ", dst_type);
  TORCH_CHECK_VALUE(compute::bits(element) == 4 || rounding == cast_rounding(element), kOp,
                    ": expected round_mode ", element == Element::kHifloat8 ? 1 : 0,
                    " with this dst_type, got ", round_mode);
  return {.element = element, .rounding = rounding};
}

struct Quantisation {
  const MaybeTensor& scale;
  const MaybeTensor& offset;
  bool dynamic;
  Target target;
};

void check_quantisation(const Quantisation& quantisation, const Arguments& arguments) {
  TORCH_CHECK_VALUE(quantisation.dynamic || given(quantisation.scale), kOp,
                    ": expected quant_scale in quant_mode 0, got None");
  TORCH_CHECK_VALUE(!quantisation.dynamic || arguments.halves_last(), kOp,
                    ": expected quant_mode 0 where activate_dim is not the last axis, got 1");
  TORCH_CHECK_VALUE(!quantisation.dynamic || !given(quantisation.offset), kOp,
                    ": expected no quant_offset in quant_mode 1");
}

// One number a group, or a vector a group.
at::Tensor factor_of(const char* argument, const at::Tensor& parameter, std::int64_t columns,
                     const Arguments& arguments) {
  const bool numbers = parameter.numel() == arguments.group_count();
  return by_group(argument, parameter, numbers ? 1 : columns, arguments);
}

// Codes and scales of the product [rows, columns].
Quantized quantised(const at::Tensor& product, const Quantisation& quantisation,
                    const Arguments& arguments) {
  const std::int64_t columns = product.size(-1);
  at::Tensor values = product;
  if (quantisation.dynamic) {
    if (given(quantisation.scale)) {
      values = values * by_group("quant_scale", *quantisation.scale, columns, arguments);
    }
    return quantize_rows(kOp, values, quantisation.target);
  }
  const at::Tensor scale = factor_of("quant_scale", *quantisation.scale, columns, arguments);
  values = at::where(scale == 0, 0.0, values / scale).to(at::kFloat);
  if (given(quantisation.offset)) {
    values = values + factor_of("quant_offset", *quantisation.offset, columns, arguments);
  }
  return {.codes = coded_to(kOp, values, quantisation.target),
          .scale = at::zeros({product.size(0)}, product.options())};
}

// Rows of no group are 0: the card leaves memory as it was.
void clear_uncovered(const at::Tensor& product, const Arguments& arguments) {
  if (!arguments.groups || product.is_meta()) return;
  const std::int64_t covered = arguments.groups->covered();
  product.narrow(0, covered, product.size(0) - covered).zero_();
}

std::tuple<at::Tensor, at::Tensor> dequant_swiglu_quant(
    const at::Tensor& x, const MaybeTensor& weight_scale, const MaybeTensor& activation_scale,
    const MaybeTensor& bias, const MaybeTensor& quant_scale, const MaybeTensor& quant_offset,
    const MaybeTensor& group_index, bool activate_left, std::int64_t quant_mode,
    std::optional<std::int64_t> dst_type, std::optional<std::int64_t> round_mode,
    std::optional<std::int64_t> activate_dim, std::int64_t swiglu_mode, double clamp_limit,
    double glu_alpha, double glu_bias) {
  check_x(x, weight_scale, activation_scale, bias);
  TORCH_CHECK_VALUE(quant_mode == 0 || quant_mode == kDynamic, kOp,
                    ": expected quant_mode 0 (static) or 1 (dynamic), got ", quant_mode);
  const Glu glu{activate_left, swiglu_mode, {clamp_limit, glu_alpha, glu_bias}};
  check_glu(glu);
  const std::int64_t dim = activate_dim.value_or(-1);
  TORCH_CHECK_INDEX(dim >= -x.dim() && dim < x.dim(), kOp, ": expected activate_dim in [", -x.dim(),
                    ", ", x.dim() - 1, "], got ", dim);
  Arguments arguments{.x = x, .axis = dim < 0 ? dim + x.dim() : dim, .groups = std::nullopt};
  if (given(group_index)) {
    TORCH_CHECK_VALUE(arguments.halves_last(), kOp,
                      ": expected no group_index where activate_dim is not the last axis");
    arguments.groups = row_groups({.op = kOp, .argument = "group_index"}, *group_index,
                                  GroupList::kCounts, arguments.rows());
  }
  const Quantisation quantisation{quant_scale, quant_offset, quant_mode == kDynamic,
                                  target_of(dst_type.value_or(1), round_mode.value_or(0))};
  check_quantisation(quantisation, arguments);
  const at::Tensor values =
      dequantised(arguments, weight_scale, activation_scale, bias).view(x.sizes());
  const at::Tensor product = product_of(values, arguments.axis, glu).contiguous();
  const at::Tensor rows = product.view({-1, product.size(-1)});
  clear_uncovered(rows, arguments);
  const Quantized result = quantised(rows, quantisation, arguments);
  std::vector<std::int64_t> sizes(product.sizes().begin(), product.sizes().end() - 1);
  const at::Tensor scale = result.scale.view(sizes);
  sizes.push_back(result.codes.size(-1));
  return {result.codes.view(sizes), scale};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&dequant_swiglu_quant>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
