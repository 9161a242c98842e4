// RMS norms that end with a quantisation: with a scale that is given, or to an MX format; of x, or
// of the sum of x1 and x2.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include "aten/describe/registry.h"
#include "ops/format/coded.h"
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

// --- work: the norm (4, one more with the sum), then four with one scale, nine by blocks.
constexpr aten::Entry kEntries[] = {
    {"npu_rms_norm_quant", quantized_rows<9>},
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

at::Tensor rms_norm_quant(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                          const at::Tensor& scale, const at::Tensor& offset, double epsilon,
                          std::optional<std::int64_t> dst_dtype) {
  const MaybeTensor given_beta = beta;
  const Norm norm{"npu_rms_norm_quant", gamma, given_beta, epsilon};
  check_gamma(norm.op, x, gamma);
  TORCH_CHECK_VALUE(scale.numel() == 1 && offset.numel() == 1, norm.op,
                    ": expected scale and offset of [1], got ", scale.sizes(), " and ",
                    offset.sizes());
  const compute::Element element =
      require_element({.op = norm.op, .argument = "dst_dtype"}, dst_dtype.value_or(1));
  const bool fp4 = element == compute::Element::kE2m1 || element == compute::Element::kE1m2;
  TORCH_CHECK_VALUE(!fp4, norm.op, ": expected dst_dtype of int8, int4, fp8 or hifloat8, got ",
                    dst_dtype.value_or(1));
  const at::Tensor y =
      normalized(norm, widened(x)) / widened(scale).reshape({1}) + widened(offset).reshape({1});
  return encoded(norm.op, y, element, cast_rounding(element));
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
  check_gamma(norm.op, x1, gamma);
  TORCH_CHECK_VALUE(x1.sizes() == x2.sizes(), norm.op, ": expected x2 of ", x1.sizes(),
                    ", the shape of x1, got ", x2.sizes());
  TORCH_CHECK_TYPE(x1.scalar_type() == x2.scalar_type(), norm.op, ": expected x2 of ",
                   x1.scalar_type(), ", the dtype of x1, got ", x2.scalar_type());
  const MxTarget target = mx_target(norm.op, x1, {round_mode, dst_type, scale_alg});
  const at::Tensor sum = widened(x1) + widened(x2);
  const Quantized result = mx_quantize(norm.op, normalized(norm, sum), target);
  return {result.codes, sum.to(x1.scalar_type()), result.scale, no_rstd(x1)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&rms_norm_quant>(m, "npu_rms_norm_quant");
  composed_kernel<&rms_norm_mx>(m, "npu_rms_norm_dynamic_mx_quant");
  composed_kernel<&add_rms_norm_mx>(m, "npu_add_rms_norm_dynamic_mx_quant");
}

}  // namespace
}  // namespace npu_sim::ops
