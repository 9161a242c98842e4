// npu_iou and npu_ciou: how much predicted boxes overlap with true ones.
// Sources: the documentation of aclnnIou and aclnnCIoU in CANN's ops-cv; op-plugin's calls and
// tests of them for Ascend950 (IouKernelNpuOpApi.cpp, test_iou.py, test_ciou.py).
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/atan.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>

#include <numbers>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: of two sides of the overlap, two areas, and a quotient; CIoU also takes the enclosing
// box, the distance of the centres and two arc tangents (a quotient and a polynomial each).
constexpr aten::Entry kEntries[] = {
    {"npu_iou", aten::elements<14, 1>},
    {"npu_ciou", aten::elements<64, 6>},
    {"_npu_ciou", aten::elements<64, 6>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
bool is_foreground(const char* op, std::int64_t mode) {
  TORCH_CHECK_VALUE(mode == 0 || mode == 1, op, ": expected mode of 0 (iou) or 1 (iof), got ",
                    mode);
  return mode == 1;
}

void check_box_dtype(const char* op, const at::Tensor& boxes, bool bfloat16) {
  const at::ScalarType dtype = boxes.scalar_type();
  TORCH_CHECK_TYPE(
      dtype == at::kFloat || dtype == at::kHalf || (bfloat16 && dtype == at::kBFloat16), op,
      ": expected boxes of float32", bfloat16 ? ", float16 or bfloat16" : " or float16", ", got ",
      dtype);
}

// --- compute
// Corners of boxes, each [boxes] or broadcasting.
struct Boxes {
  at::Tensor left;
  at::Tensor top;
  at::Tensor right;
  at::Tensor bottom;
};

// How far two boxes overlap along one axis, each side `margin` longer.
at::Tensor shared(const at::Tensor& low_a, const at::Tensor& high_a, const at::Tensor& low_b,
                  const at::Tensor& high_b, double margin) {
  return (at::minimum(high_a, high_b) - at::maximum(low_a, low_b) + margin).clamp_min(0);
}

at::Tensor intersection(const Boxes& a, const Boxes& b, double margin) {
  return shared(a.left, a.right, b.left, b.right, margin) *
         shared(a.top, a.bottom, b.top, b.bottom, margin);
}

// [true boxes, predicted boxes], as op-plugin turns the kernel's result.
at::Tensor iou(const at::Tensor& bboxes, const at::Tensor& gtboxes, std::int64_t mode) {
  constexpr const char* kOp = "npu_iou";
  constexpr double kMargin = 0.01;  // op-plugin's eps, which widths and heights are longer by
  const bool foreground = is_foreground(kOp, mode);
  check_box_dtype(kOp, bboxes, true);
  TORCH_CHECK_TYPE(bboxes.scalar_type() == gtboxes.scalar_type(), kOp,
                   ": expected gtboxes of the dtype of bboxes ", bboxes.scalar_type(), ", got ",
                   gtboxes.scalar_type());
  const bool fit =
      bboxes.dim() == 2 && bboxes.size(1) == 4 && gtboxes.dim() == 2 && gtboxes.size(1) == 4;
  TORCH_CHECK_VALUE(fit, kOp, ": expected bboxes of [m, 4] and gtboxes of [n, 4], got ",
                    bboxes.sizes(), " and ", gtboxes.sizes());
  const at::Tensor p = widened(bboxes).unsqueeze(0);
  const at::Tensor g = widened(gtboxes).unsqueeze(1);
  const auto corners = [](const at::Tensor& boxes) {
    return Boxes{boxes.select(2, 0), boxes.select(2, 1), boxes.select(2, 2), boxes.select(2, 3)};
  };
  const auto area = [](const Boxes& boxes) {
    return (boxes.right - boxes.left + kMargin) * (boxes.bottom - boxes.top + kMargin);
  };
  const at::Tensor both = intersection(corners(p), corners(g), kMargin);
  const at::Tensor truth = area(corners(g));
  const at::Tensor whole = foreground ? truth : area(corners(p)) + truth - both;
  return (both / whole).to(bboxes.scalar_type());
}

Boxes corners_of(const at::Tensor& boxes, bool by_centre) {
  const at::Tensor x = boxes.select(0, 0);
  const at::Tensor y = boxes.select(0, 1);
  const at::Tensor w = boxes.select(0, 2);
  const at::Tensor h = boxes.select(0, 3);
  if (!by_centre) return {x, y, w, h};
  return {x - w / 2, y - h / 2, x + w / 2, y + h / 2};
}

constexpr double kTiny = 1e-9;  // keeps quotients finite, as in op-plugin's test

// The shape of the boxes: the difference of their diagonals' angles.
struct Shape {
  at::Tensor width;
  at::Tensor height;
};

Shape shape_of(const Boxes& boxes) {
  return {boxes.right - boxes.left, boxes.bottom - boxes.top + kTiny};
}

// Squared distance of the centres as a share of the enclosing box's squared diagonal.
at::Tensor distance(const Boxes& p, const Boxes& g) {
  const at::Tensor width = at::maximum(p.right, g.right) - at::minimum(p.left, g.left);
  const at::Tensor height = at::maximum(p.bottom, g.bottom) - at::minimum(p.top, g.top);
  const at::Tensor dx = g.left + g.right - p.left - p.right;
  const at::Tensor dy = g.top + g.bottom - p.top - p.bottom;
  return (dx.square() + dy.square()) / 4 / (width.square() + height.square() + kTiny);
}

void check_ciou(const at::Tensor& input, const at::Tensor& gtboxes, bool is_cross) {
  constexpr const char* kOp = "npu_ciou";
  TORCH_CHECK_VALUE(!is_cross, kOp, ": expected is_cross of False, got True");
  check_box_dtype(kOp, input, false);
  check_box_dtype(kOp, gtboxes, false);
  TORCH_CHECK_VALUE(input.dim() == 2 && input.size(0) == 4 && input.sizes() == gtboxes.sizes(), kOp,
                    ": expected input and gtboxes of [4, n], got ", input.sizes(), " and ",
                    gtboxes.sizes());
}

std::tuple<at::Tensor, at::Tensor> ciou_for_backward(const at::Tensor& input,
                                                     const at::Tensor& gtboxes, bool trans,
                                                     bool is_cross, std::int64_t mode,
                                                     bool /*atan_sub_flag*/) {
  const bool foreground = is_foreground("npu_ciou", mode);
  check_ciou(input, gtboxes, is_cross);
  const Boxes p = corners_of(widened(input), trans);
  const Boxes g = corners_of(widened(gtboxes), trans);
  const Shape of_p = shape_of(p);
  const Shape of_g = shape_of(g);
  const at::Tensor both = intersection(p, g, 0);
  const at::Tensor truth = of_g.width * of_g.height;
  const at::Tensor whole = foreground ? truth : of_p.width * of_p.height + truth - both;
  const at::Tensor overlap = both / (whole + kTiny);
  const at::Tensor angle = at::atan(of_g.width / of_g.height) - at::atan(of_p.width / of_p.height);
  const at::Tensor v = angle.square() * (4 / (std::numbers::pi * std::numbers::pi));
  const at::Tensor result = overlap - distance(p, g) - v * v / (1 + kTiny - overlap + v);
  const bool half = input.scalar_type() == at::kHalf || gtboxes.scalar_type() == at::kHalf;
  const at::ScalarType dtype = half ? at::kHalf : at::kFloat;
  return {result.unsqueeze(0).to(dtype), angle.unsqueeze(0).to(dtype)};
}

at::Tensor ciou(const at::Tensor& input, const at::Tensor& gtboxes, bool trans, bool is_cross,
                std::int64_t mode, bool atan_sub_flag) {
  return std::get<0>(ciou_for_backward(input, gtboxes, trans, is_cross, mode, atan_sub_flag));
}

// As op-plugin has it: by the form that autograd knows. Its backward kernel the card lacks.
at::Tensor ciou_differentiably(const at::Tensor& input, const at::Tensor& gtboxes, bool trans,
                               bool is_cross, std::int64_t mode, bool atan_sub_flag) {
  static const auto form =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("npu::_npu_ciou", "")
          .typed<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, bool,
                                                    bool, std::int64_t, bool)>();
  return std::get<0>(form.call(input, gtboxes, trans, is_cross, mode, atan_sub_flag));
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&iou>(m, "npu_iou");
  composed_kernel<&ciou>(m, "npu_ciou");
  m.impl("npu_ciou", torch::dispatch(c10::DispatchKey::Autograd, TORCH_FN(ciou_differentiably)));
  composed_kernel<&ciou_for_backward>(m, "_npu_ciou");
  derivative(m, "_npu_ciou",
             "input, gtboxes: npu_ciou_backward(grad, input, gtboxes, result1, trans, is_cross, "
             "mode)");
}

}  // namespace
}  // namespace npu_sim::ops
