// RMS norms that end with a quantisation: with a scale that is given, or to an MX format; of x, or
// of the sum of x1 and x2.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <array>

#include "aten/describe/registry.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/norm/rms_norm.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/mx.h"
#include "ops/quant/quantized.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

// --- work: the norm (4, one more with the sum), then four with one scale (twice in the sum's
// form), nine by blocks; as npu_dynamic_quant, less its loads, for each of one or two results.
model::Work describe_dynamic(const aten::Call& call) {
  constexpr std::size_t kSecond = 1;
  const bool both = call.result(0).dim() > 0 && call.result(kSecond).dim() > 0;
  return both ? quantized_rows<27>(call) : quantized_rows<16>(call);
}
constexpr aten::Entry kEntries[] = {
    {"npu_rms_norm_quant", quantized_rows<9>},
    {"npu_rms_norm_quant_v2", quantized_rows<9>},
    {"npu_add_rms_norm_quant", quantized_rows<14>},
    {"npu_add_rms_norm_dynamic_quant", describe_dynamic},
    {"npu_rms_norm_dynamic_mx_quant", quantized_rows<13>},
    {"npu_add_rms_norm_dynamic_mx_quant", quantized_rows<14>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
struct Norm {
  const char* op;
  const at::Tensor& gamma;
  const MaybeTensor& beta;
  double epsilon;
};

// The norm of `sum` in fp32, which is not rounded in between.
at::Tensor normalized(const Norm& norm, const at::Tensor& sum) {
  const at::Tensor y = normalize_rms(sum, widened(norm.gamma), norm.epsilon).y;
  if (!given(norm.beta)) return y;
  TORCH_CHECK_VALUE(norm.beta->sizes() == norm.gamma.sizes(), norm.op, ": expected beta of ",
                    norm.gamma.sizes(), ", the shape of gamma, got ", norm.beta->sizes());
  return y + widened(*norm.beta);
}

// Formats of 8 bits, and int4 packed by eight.
Target static_target(ArgumentName name, std::int64_t dtype) {
  const compute::Element element = require_element(name, dtype);
  const bool fp4 = element == compute::Element::kE2m1 || element == compute::Element::kE1m2;
  TORCH_CHECK_VALUE(!fp4, name.op, ": expected ", name.argument,
                    " of int8, int4, fp8 or hifloat8, got ", dtype);
  return {.element = element, .rounding = cast_rounding(element)};
}

// Scales and offsets that are given.
struct Steps {
  const at::Tensor& scale;
  const MaybeTensor& offset;
  bool divides;
};

at::Tensor stepped(const at::Tensor& y, const Steps& steps) {
  const at::Tensor scale = widened(steps.scale);
  const at::Tensor scaled = steps.divides ? y / scale : y * scale;
  return given(steps.offset) ? scaled + widened(*steps.offset) : scaled;
}

at::Tensor rms_norm_quant(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                          const at::Tensor& scale, const at::Tensor& offset, double epsilon,
                          std::optional<std::int64_t> dst_dtype) {
  const MaybeTensor given_beta = beta;
  const Norm norm{"npu_rms_norm_quant", gamma, given_beta, epsilon};
  check_gamma(norm.op, x, gamma);
  TORCH_CHECK_VALUE(scale.numel() == 1 && offset.numel() == 1, norm.op,
                    ": expected scale and offset of [1], got ", scale.sizes(), " and ",
                    offset.sizes());
  const Target target = static_target({norm.op, "dst_dtype"}, dst_dtype.value_or(1));
  const at::Tensor y =
      normalized(norm, widened(x)) / widened(scale).reshape({1}) + widened(offset).reshape({1});
  return coded_to(norm.op, y, target);
}

// No rstd: the card gives one only where x requires a gradient, and there is no backward operator.
at::Tensor no_rstd(const at::Tensor& x) { return at::empty({0}, x.options().dtype(at::kFloat)); }

std::tuple<at::Tensor, at::Tensor, at::Tensor> rms_norm_mx(
    const at::Tensor& x, const at::Tensor& gamma, const MaybeTensor& beta, double epsilon,
    std::int64_t scale_alg, c10::string_view round_mode, std::int64_t dst_type) {
  const Norm norm{"npu_rms_norm_dynamic_mx_quant", gamma, beta, epsilon};
  check_gamma(norm.op, x, gamma);
  const MxTarget target = mx_target(norm.op, x, {round_mode, dst_type, scale_alg});
  const Quantized result = mx_quantize(norm.op, normalized(norm, widened(x)), target);
  return {result.codes, result.scale, no_rstd(x)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> add_rms_norm_mx(
    const at::Tensor& x1, const at::Tensor& x2, const at::Tensor& gamma, const MaybeTensor& beta,
    double epsilon, std::int64_t scale_alg, c10::string_view round_mode, std::int64_t dst_type) {
  const Norm norm{"npu_add_rms_norm_dynamic_mx_quant", gamma, beta, epsilon};
  const Sum sum = sum_of(norm.op, x1, x2, gamma);
  const MxTarget target = mx_target(norm.op, x1, {round_mode, dst_type, scale_alg});
  const Quantized result = mx_quantize(norm.op, normalized(norm, sum.wide), target);
  return {result.codes, sum.narrow, result.scale, no_rstd(x1)};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_quant_v2(const at::Tensor& x, const at::Tensor& gamma,
                                                     const at::Tensor& scale,
                                                     const MaybeTensor& offset,
                                                     const MaybeTensor& beta, double epsilon,
                                                     bool div_mode,
                                                     std::optional<std::int64_t> dst_dtype) {
  constexpr const char* kOp = "npu_rms_norm_quant_v2";
  const bool as_row = gamma.dim() == 2 && gamma.size(0) == 1;
  const at::Tensor row = as_row ? gamma.squeeze(0) : gamma;
  const MaybeTensor shift = given(beta) && as_row ? MaybeTensor(beta->reshape({-1})) : beta;
  check_gamma(kOp, x, row);
  TORCH_CHECK_VALUE(row.dim() == 1, kOp, ": expected gamma of [", x.size(-1), "], got ",
                    gamma.sizes());
  TORCH_CHECK_VALUE(scale.dim() == 1 && (scale.size(0) == 1 || scale.size(0) == x.size(-1)), kOp,
                    ": expected scale of [1] or [", x.size(-1), "], got ", scale.sizes());
  TORCH_CHECK_VALUE(!given(offset) || offset->sizes() == scale.sizes(), kOp,
                    ": expected offset of ", scale.sizes(), ", the shape of scale");
  const Target target = static_target({kOp, "dst_dtype"}, dst_dtype.value_or(1));
  const at::Tensor y = normalized({kOp, row, shift, epsilon}, widened(x));
  return {coded_to(kOp, stepped(y, {scale, offset, div_mode}), target), no_rstd(x)};
}

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

void check_steps(const char* op, const char* argument, const MaybeTensor& tensor,
                 const at::Tensor& gamma) {
  TORCH_CHECK_VALUE(!given(tensor) || tensor->sizes() == gamma.sizes(), op, ": expected ", argument,
                    " of ", gamma.sizes(), ", the shape of gamma");
}

// The second result without scales2 is zeros: the card leaves memory as it was.
Three add_rms_norm_quant(const at::Tensor& x1, const at::Tensor& x2, const at::Tensor& gamma,
                         const at::Tensor& scales1, const MaybeTensor& zero_points1,
                         const MaybeTensor& beta, const MaybeTensor& scales2,
                         const MaybeTensor& zero_points2, std::int64_t axis, double epsilon,
                         bool div_mode, std::optional<std::int64_t> dst_type) {
  constexpr const char* kOp = "npu_add_rms_norm_quant";
  TORCH_CHECK_VALUE(axis == -1, kOp, ": expected axis -1, got ", axis);
  const Target target = static_target({kOp, "dst_type"}, dst_type.value_or(1));
  TORCH_CHECK_VALUE(compute::bits(target.element) == 8, kOp,
                    ": expected dst_type of int8, fp8 or hifloat8, got ", dst_type.value_or(1));
  const Sum sum = sum_of(kOp, x1, x2, gamma);
  check_steps(kOp, "scales1", scales1, gamma);
  check_steps(kOp, "zero_points1", zero_points1, gamma);
  check_steps(kOp, "scales2", scales2, gamma);
  check_steps(kOp, "zero_points2", zero_points2, gamma);
  const at::Tensor y = normalized({kOp, gamma, beta, epsilon}, sum.wide);
  const at::Tensor first = coded_to(kOp, stepped(y, {scales1, zero_points1, div_mode}), target);
  const at::Tensor second =
      given(scales2) ? coded_to(kOp, stepped(y, {*scales2, zero_points2, div_mode}), target)
                     : at::zeros(first.sizes(), first.options());
  return {first, second, sum.narrow};
}

// One of the two results; without it, scalars of 0 (the card leaves memory as it was).
Quantized dynamic_result(const Norm& norm, const at::Tensor& y, const MaybeTensor& smooth,
                         bool wanted, const Target& target) {
  if (!wanted) {
    return {.codes = at::zeros({}, y.options().dtype(carrier(target.element))),
            .scale = at::zeros({}, y.options())};
  }
  return quantize_rows(norm.op, given(smooth) ? y * widened(*smooth) : y, target);
}

using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Five add_rms_norm_dynamic_quant(const at::Tensor& x1, const at::Tensor& x2, const at::Tensor& gamma,
                                const MaybeTensor& smooth1, const MaybeTensor& smooth2,
                                const MaybeTensor& beta, double epsilon,
                                std::optional<std::array<bool, 2>> output_mask,
                                std::optional<std::int64_t> y_dtype) {
  const Norm norm{"npu_add_rms_norm_dynamic_quant", gamma, beta, epsilon};
  TORCH_CHECK_VALUE(x1.dim() >= 2 && x1.dim() <= 8, norm.op, ": expected x1 of 2 to 8 axes, got ",
                    x1.sizes());
  const auto wanted =
      output_mask.value_or(std::array<bool, 2>{true, given(smooth1) && given(smooth2)});
  TORCH_CHECK_VALUE(wanted[0] || wanted[1], norm.op,
                    ": expected output_mask with at least one result, got [False, False]");
  const Sum sum = sum_of(norm.op, x1, x2, gamma);
  TORCH_CHECK_VALUE(gamma.dim() == 1, norm.op, ": expected gamma of [", x1.size(-1), "], got ",
                    gamma.sizes());
  check_steps(norm.op, "smooth_scale1", smooth1, gamma);
  check_steps(norm.op, "smooth_scale2", smooth2, gamma);
  const Target target = static_target({norm.op, "y_dtype"}, y_dtype.value_or(1));
  const at::Tensor y = normalized(norm, sum.wide);
  const Quantized first = dynamic_result(norm, y, smooth1, wanted[0], target);
  const Quantized second = dynamic_result(norm, y, smooth2, wanted[1], target);
  return {first.codes, second.codes, sum.narrow, first.scale, second.scale};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&rms_norm_quant>(m, "npu_rms_norm_quant");
  composed_kernel<&rms_norm_quant_v2>(m, "npu_rms_norm_quant_v2");
  composed_kernel<&add_rms_norm_quant>(m, "npu_add_rms_norm_quant");
  composed_kernel<&add_rms_norm_dynamic_quant>(m, "npu_add_rms_norm_dynamic_quant");
  composed_kernel<&rms_norm_mx>(m, "npu_rms_norm_dynamic_mx_quant");
  composed_kernel<&add_rms_norm_mx>(m, "npu_add_rms_norm_dynamic_mx_quant");
}

}  // namespace
}  // namespace npu_sim::ops
