// SwiGLU, or its gradient, that ends in an MX format: along one axis, or along both last axes at
// once; blocks along rows start anew with each group of rows.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <cmath>

#include "aten/describe/registry.h"
#include "ops/activation/gated_halves.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/groups.h"
#include "ops/quant/mx.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

// --- work: SwiGLU (3 and 2; 5 more clipped), round, then nine an axis as npu_dynamic_mx_quant; the
// gradient (8 and 2) has twice as many results, both along two axes.
model::Work describe_mx(const aten::Call& call) {
  constexpr std::size_t kGroups = 1;
  constexpr std::size_t kGluMode = 4;
  constexpr std::size_t kListType = 8;
  const std::int64_t rows =
      covered_rows(call, {.list = kGroups, .counts = aten::integer_at(call, kListType, 0) == 0});
  const int clips = aten::integer_at(call, kGluMode, 0) == 0 ? 0 : 5;
  return gated_work(call, rows, {.linear = 13 + clips, .special = 2});
}
model::Work describe_dual(const aten::Call& call) {
  return gated_work(call, covered_rows(call, {.list = 1}), {.linear = 22, .special = 2});
}
model::Work describe_backward(const aten::Call& call) {
  return gated_work(call, covered_rows(call, {.list = 2}), {.linear = 46, .special = 2});
}
constexpr aten::Entry kEntries[] = {
    {"npu_swiglu_mx_quant", describe_mx},
    {"npu_swiglu_mx_quant_with_dual_axis", describe_dual},
    {"_npu_swiglu_backward_mx_quant_with_dual_axis", describe_backward},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using Two = std::tuple<at::Tensor, at::Tensor>;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

std::int64_t checked_axis(const char* op, const char* argument, const at::Tensor& x,
                          std::int64_t axis) {
  TORCH_CHECK_VALUE(x.dim() > 1, op, ": expected x of two axes or more, got ", x.sizes());
  const std::int64_t place = axis < 0 ? axis + x.dim() : axis;
  TORCH_CHECK_INDEX(place >= x.dim() - 2 && place < x.dim(), op, ": expected ", argument,
                    " of one of the last two axes of ", x.sizes(), ", got ", axis);
  return place;
}

std::optional<RowGroups> groups_of(const char* op, const MaybeTensor& list, GroupList kind,
                                   const at::Tensor& values) {
  if (!given(list)) return std::nullopt;
  const std::int64_t rows = values.size(-1) == 0 ? 0 : values.numel() / values.size(-1);
  return row_groups({.op = op, .argument = "group_index"}, *list, kind, rows);
}

// Along the last axis no block crosses rows; codes and scales of rows of no group are 0.
Quantized along_columns(const char* op, const at::Tensor& values, const MxTarget& target,
                        const std::optional<RowGroups>& groups) {
  Quantized result = mx_quantize(op, values, target);
  if (!groups || values.is_meta()) return result;
  const std::int64_t covered = groups->covered();
  for (const at::Tensor& tensor : {result.codes, result.scale}) {
    const at::Tensor rows = tensor.flatten(0, values.dim() - 2);
    rows.narrow(0, covered, rows.size(0) - covered).zero_();
  }
  return result;
}

Quantized along_rows(const char* op, const at::Tensor& values, MxTarget target,
                     const std::optional<RowGroups>& groups, MxGroupScales places) {
  if (!groups) {
    target.axis = -2;
    return mx_quantize(op, values, target);
  }
  TORCH_CHECK_VALUE(values.dim() == 2, op, ": expected x of two axes with group_index, got ",
                    values.sizes());
  return mx_quantize_groups(op, values, target, *groups, places);
}

struct Glu {
  bool activate_left;
  std::int64_t mode;
  ClippedProduct clip;
};

void check_glu(const char* op, const Glu& glu, bool halves_last) {
  TORCH_CHECK_VALUE(glu.mode == 0 || (glu.mode == 1 && halves_last), op,
                    ": expected swiglu_mode 0, or 1 with activate_dim of the last axis, got ",
                    glu.mode);
  TORCH_CHECK_VALUE(std::isfinite(glu.clip.limit) && glu.clip.limit > 0, op,
                    ": expected a finite clamp_limit above 0, got ", glu.clip.limit);
  TORCH_CHECK_VALUE(std::isfinite(glu.clip.alpha) && std::isfinite(glu.clip.bias), op,
                    ": expected finite glu_alpha and glu_bias, got ", glu.clip.alpha, " and ",
                    glu.clip.bias);
}

Two swiglu_mx_quant(const at::Tensor& x, const MaybeTensor& group_index, std::int64_t activate_dim,
                    bool activate_left, std::int64_t swiglu_mode, double clamp_limit,
                    double glu_alpha, double glu_bias, std::int64_t group_mode, std::int64_t axis,
                    std::int64_t dst_type, c10::string_view round_mode, std::int64_t scale_alg,
                    double max_dtype_value) {
  constexpr const char* kOp = "npu_swiglu_mx_quant";
  const MxTarget target = mx_target(kOp, x, {round_mode, dst_type, scale_alg, max_dtype_value});
  const std::int64_t last = x.dim() - 1;
  const std::int64_t halves = checked_axis(kOp, "activate_dim", x, activate_dim);
  const std::int64_t blocks = checked_axis(kOp, "axis", x, axis);
  const Glu glu{activate_left, swiglu_mode, {clamp_limit, glu_alpha, glu_bias}};
  check_glu(kOp, glu, halves == last);
  TORCH_CHECK_VALUE(group_mode == 0 || group_mode == 1, kOp,
                    ": expected group_mode 0 (counts) or 1 (ends), got ", group_mode);
  TORCH_CHECK_VALUE(!given(group_index) || (halves == last && blocks == last) || x.dim() == 2, kOp,
                    ": expected x of two axes with group_index and an axis before the last, got ",
                    x.sizes());
  const at::Tensor product =
      (glu.mode == 1 ? clipped_product(interleaved_halves(kOp, x, halves), glu.clip)
                     : silu_product(gated_halves(kOp, x, halves, activate_left)))
          .to(x.scalar_type());
  const auto groups =
      groups_of(kOp, group_index, group_mode == 0 ? GroupList::kCounts : GroupList::kEnds, product);
  const Quantized result = blocks == last
                               ? along_columns(kOp, product, target, groups)
                               : along_rows(kOp, product, target, groups, MxGroupScales::kDense);
  return {result.codes, result.scale};
}

Four along_both(const char* op, const at::Tensor& values, const MxTarget& target,
                const MaybeTensor& group_index) {
  const auto groups = groups_of(op, group_index, GroupList::kEnds, values);
  const Quantized first = along_columns(op, values, target, groups);
  const Quantized second = along_rows(op, values, target, groups, MxGroupScales::kByRow);
  return {first.codes, first.scale, second.codes, second.scale};
}

Four swiglu_mx_quant_dual(const at::Tensor& x, const MaybeTensor& group_index, bool activate_left,
                          c10::string_view round_mode, std::int64_t scale_alg,
                          std::int64_t dst_type, double dst_type_max) {
  constexpr const char* kOp = "npu_swiglu_mx_quant_with_dual_axis";
  const MxTarget target = mx_target(kOp, x, {round_mode, dst_type, scale_alg, dst_type_max});
  TORCH_CHECK_VALUE(x.dim() >= 2, kOp, ": expected x of two axes or more, got ", x.sizes());
  const at::Tensor product =
      silu_product(gated_halves(kOp, x, -1, activate_left)).to(x.scalar_type());
  return along_both(kOp, product, target, group_index);
}

// The gradient of the activated half comes first, whichever half of x that is.
// Source: aclnnSwigluBackwardMxQuantWithDualAxis of ops-nn.
Four swiglu_backward_mx_quant(const at::Tensor& x, const at::Tensor& y_grad,
                              const MaybeTensor& group_index, bool activate_left,
                              c10::string_view round_mode, std::int64_t scale_alg,
                              std::int64_t dst_type, double dst_type_max) {
  constexpr const char* kOp = "_npu_swiglu_backward_mx_quant_with_dual_axis";
  constexpr std::int64_t kColumnUnit = 64;
  const MxTarget target = mx_target(kOp, x, {round_mode, dst_type, scale_alg, dst_type_max});
  TORCH_CHECK_VALUE(target.element == compute::Element::kE4m3 && scale_alg == 1, kOp,
                    ": expected dst_type float8_e4m3fn and scale_alg 1, got ", dst_type, " and ",
                    scale_alg);
  TORCH_CHECK_VALUE(x.dim() >= 2 && x.size(-1) > 0 && x.size(-1) % kColumnUnit == 0, kOp,
                    ": expected x of two axes or more, the last divisible by 64, got ", x.sizes());
  const GatedHalves halves = gated_halves(kOp, x, -1, activate_left);
  TORCH_CHECK_VALUE(y_grad.sizes() == halves.gate.sizes(), kOp, ": expected y_grad of ",
                    halves.gate.sizes(), ", the halves of x, got ", y_grad.sizes());
  TORCH_CHECK_TYPE(y_grad.scalar_type() == x.scalar_type(), kOp, ": expected y_grad of ",
                   x.scalar_type(), ", the dtype of x, got ", y_grad.scalar_type());
  const GatedHalves grads = silu_product_grads(halves, widened(y_grad));
  const at::Tensor x_grad = at::cat({grads.gate, grads.value}, -1).to(x.scalar_type());
  return along_both(kOp, x_grad, target, group_index);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&swiglu_mx_quant>(m, "npu_swiglu_mx_quant");
  composed_kernel<&swiglu_mx_quant_dual>(m, "npu_swiglu_mx_quant_with_dual_axis");
  composed_kernel<&swiglu_backward_mx_quant>(m, "_npu_swiglu_backward_mx_quant_with_dual_axis");
}

}  // namespace
}  // namespace npu_sim::ops
