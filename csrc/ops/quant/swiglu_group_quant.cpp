// npu_swiglu_group_quant: SwiGLU with a clamp and a weight a row, in HiFloat8 with one scale a
// group of rows (or for all rows); and the gradient of the product before the quantisation.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/registry.h"
#include "ops/activation/gated_halves.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/groups.h"
#include "ops/quant/quantized.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kStatic = 2;
constexpr std::int64_t kDynamic = 3;

// --- work: SwiGLU (3 and 2), clamps, weight, scale and converts, swept twice for a scale; the
// gradient (8 and 2) has as many results as x has elements.
model::Work describe_quant(const aten::Call& call) {
  constexpr std::size_t kMode = 5;
  const bool dynamic = aten::integer_at(call, kMode, 0) == kDynamic;
  return gated_work(call, covered_rows(call, {.list = 2, .counts = true}),
                    {.linear = dynamic ? 15 : 12, .special = 2, .rows = dynamic});
}
model::Work describe_backward(const aten::Call& call) {
  const at::Tensor& x = aten::tensor_at(call, 1);
  const aten::Traffic traffic = aten::traffic_of(call);
  return model::RowWork{.rows = aten::ratio(x.numel(), aten::size_along(x, -1)),
                        .columns = aten::size_along(x, -1) / 2,
                        .read = traffic.read,
                        .written = traffic.written,
                        .linear_ops = 16,
                        .special_ops = 2,
                        .reductions = 1,
                        .passes = 1};
}
constexpr aten::Entry kEntries[] = {
    {"npu_swiglu_group_quant", describe_quant},
    {"npu_swiglu_group_quant_backward", describe_backward},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using Two = std::tuple<at::Tensor, at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

std::int64_t rows_of(const at::Tensor& x) { return x.numel() / x.size(-1); }

void check_x(const char* op, const at::Tensor& x) {
  TORCH_CHECK_TYPE(x.is_floating_point(), op, ": expected a floating x, got ", x.scalar_type());
  TORCH_CHECK_VALUE(x.dim() > 1 && x.size(-1) > 0, op,
                    ": expected x of two axes or more with elements along the last, got ",
                    x.sizes());
}

void check_rows(const char* op, const char* argument, const at::Tensor& tensor,
                const at::Tensor& x) {
  TORCH_CHECK_TYPE(tensor.is_floating_point(), op, ": expected a floating ", argument, ", got ",
                   tensor.scalar_type());
  TORCH_CHECK_VALUE(tensor.numel() == rows_of(x), op, ": expected ", argument,
                    " of one a row of x, ", rows_of(x), ", got ", tensor.sizes());
}

// All rows as one group where no list is given.
RowGroups groups_of(const char* op, const MaybeTensor& list, std::int64_t rows) {
  if (!given(list)) return {.count = 1, .ends = {rows}};
  return row_groups_within({.op = op, .argument = "group_index"}, *list, GroupList::kCounts, rows);
}

// --- compute
GatedHalves rows_clamped(const char* op, const at::Tensor& x, double limit) {
  const GatedHalves halves =
      gated_halves(op, x.reshape({rows_of(x), x.size(-1)}), -1, /*gate_first=*/true);
  return limit > 0 ? clipped(halves, limit) : halves;
}

// One scale a group: its largest magnitude over `largest`, above 0.
at::Tensor scales_of(const at::Tensor& rows, const RowGroups& groups, double largest) {
  constexpr double kLeastMax = 1e-8;
  const at::Tensor scales = at::full({groups.count}, kLeastMax, rows.options());
  if (rows.is_meta() || rows.numel() == 0) return scales / largest;
  for (std::int64_t group = 0; group < groups.count; ++group) {
    if (groups.rows(group) == 0) continue;
    const at::Tensor part = rows.narrow(0, groups.begin(group), groups.rows(group));
    scales[group].copy_(part.abs().max());
  }
  return scales.clamp_min_(kLeastMax) / largest;
}

constexpr Target kHifloat8{.element = compute::Element::kHifloat8,
                           .rounding = compute::Rounding::kRound};

void clear_uncovered(const at::Tensor& rows, const RowGroups& groups) {
  if (rows.is_meta()) return;
  rows.narrow(0, groups.covered(), rows.size(0) - groups.covered()).zero_();
}

Three swiglu_group_quant(const at::Tensor& x, const MaybeTensor& weight,
                         const MaybeTensor& group_index, const MaybeTensor& scale,
                         std::int64_t /*dst_type: the card's modes 2 and 3 make hifloat8*/,
                         std::int64_t quant_mode, std::int64_t /*block_size*/, bool /*round_scale*/,
                         double clamp_limit, double dst_type_max, bool output_origin) {
  constexpr const char* kOp = "npu_swiglu_group_quant";
  check_x(kOp, x);
  TORCH_CHECK_VALUE(quant_mode == kStatic || quant_mode == kDynamic, kOp,
                    ": expected quant_mode 2 (static hifloat8) or 3 (dynamic), got ", quant_mode,
                    "; torch_npu makes no results for 0 and 1");
  TORCH_CHECK_VALUE(dst_type_max > 0, kOp, ": expected dst_type_max above 0, got ", dst_type_max);
  const RowGroups groups = groups_of(kOp, group_index, rows_of(x));
  at::Tensor rows = silu_product(rows_clamped(kOp, x, clamp_limit));
  if (given(weight)) {
    check_rows(kOp, "weight", *weight, x);
    rows = rows * weight->reshape({-1, 1});
  }
  clear_uncovered(rows, groups);
  const at::Tensor origin = rows;
  at::Tensor scales = at::empty({0}, rows.options());
  if (quant_mode == kStatic) {
    TORCH_CHECK_VALUE(given(scale) && scale->numel() == groups.count, kOp,
                      ": expected scale of one a group, ", groups.count, ", in quant_mode 2");
    const at::Tensor factors = widened(*scale).reshape({groups.count, 1});
    rows = rows * by_row(factors, groups, rows.size(0), 1);
  } else {
    scales = scales_of(rows, groups, dst_type_max);
    rows = rows / by_row(scales.unsqueeze(1), groups, rows.size(0), 1);
  }
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.back() /= 2;
  return {coded_to(kOp, rows, kHifloat8).view(sizes), scales,
          output_origin ? origin.view(sizes).to(x.scalar_type()) : at::empty({0}, x.options())};
}

// Where the clamps let the gradient pass: strictly within them.
GatedHalves passed(const GatedHalves& grads, const at::Tensor& x, double limit) {
  if (limit <= 0) return grads;
  const auto parts = widened(x).tensor_split(2, -1);
  return {.gate = grads.gate * (parts[0] < limit), .value = grads.value * (parts[1].abs() < limit)};
}

Two swiglu_group_quant_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                const MaybeTensor& weight, const MaybeTensor& y_origin,
                                const MaybeTensor& group_index, double clamp_limit) {
  constexpr const char* kOp = "npu_swiglu_group_quant_backward";
  check_x(kOp, x);
  const GatedHalves halves = rows_clamped(kOp, x, clamp_limit);
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.back() /= 2;
  TORCH_CHECK_VALUE(grad_y.sizes() == sizes, kOp, ": expected grad_y of ", at::IntArrayRef(sizes),
                    ", the halves of x, got ", grad_y.sizes());
  const RowGroups groups = groups_of(kOp, group_index, rows_of(x));
  const at::Tensor grad = widened(grad_y).reshape(halves.gate.sizes());
  at::Tensor product_grad = grad;
  at::Tensor weight_grad = at::empty({0}, x.options().dtype(at::kFloat));
  if (given(weight)) {
    check_rows(kOp, "weight", *weight, x);
    TORCH_CHECK_VALUE(given(y_origin) && y_origin->sizes() == grad_y.sizes(), kOp,
                      ": expected y_origin of ", grad_y.sizes(), ", as grad_y, with weight");
    product_grad = grad * widened(*weight).reshape({-1, 1});
    weight_grad = (grad * widened(*y_origin).reshape(grad.sizes())).sum(-1);
    clear_uncovered(weight_grad, groups);
    weight_grad = weight_grad.view(weight->sizes()).to(weight->scalar_type());
  }
  const GatedHalves grads = passed(silu_product_grads(halves, product_grad),
                                   x.reshape({rows_of(x), x.size(-1)}), clamp_limit);
  const at::Tensor x_grad = at::cat({grads.gate, grads.value}, -1);
  clear_uncovered(x_grad, groups);
  return {x_grad.view(x.sizes()).to(x.scalar_type()), weight_grad};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&swiglu_group_quant>(m, "npu_swiglu_group_quant");
  composed_kernel<&swiglu_group_quant_backward>(m, "npu_swiglu_group_quant_backward");
}

}  // namespace
}  // namespace npu_sim::ops
