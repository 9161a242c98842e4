// _npu_rms_norm_backward_quant: the gradient of the RMS norm, that of x with a scale that is given.
#include <ATen/TensorOperators.h>

#include "aten/describe/registry.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/norm/rms_norm.h"
#include "ops/norm/row_describers.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "_npu_rms_norm_backward_quant";

// --- work: as npu_rms_norm_backward, then scale, offset, round and converts.
constexpr aten::VectorCost kCost{.linear = 14, .reductions = 1, .passes = 2};
constexpr aten::Entry kEntries[] = {{"_npu_rms_norm_backward_quant", normalized_rows<3, kCost>}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& scale,
           const MaybeTensor& offset, c10::string_view quant_mode) {
  TORCH_CHECK_VALUE(dy.sizes() == x.sizes(), kOp, ": expected dy of ", x.sizes(),
                    ", the shape of x, got ", dy.sizes());
  TORCH_CHECK_VALUE(scale.numel() == 1, kOp, ": expected scale_x of [1], got ", scale.sizes());
  TORCH_CHECK_VALUE(!given(offset) || offset->numel() == 1, kOp,
                    ": expected offset_x of [1], got more");
  TORCH_CHECK_VALUE(quant_mode == "static", kOp, ": expected quant_mode static, got '", quant_mode,
                    "'");
}

// rstd with ones in the place of gamma's axes.
at::Tensor kept_rstd(const at::Tensor& rstd, const at::Tensor& x, const at::Tensor& gamma) {
  std::vector<std::int64_t> sizes = x.sizes().vec();
  for (const std::int64_t axis : normalized_axes(x, gamma)) {
    sizes[static_cast<std::size_t>(axis)] = 1;
  }
  TORCH_CHECK_VALUE(rstd.numel() == c10::multiply_integers(sizes), kOp,
                    ": expected rstd of one a row of x, ", c10::multiply_integers(sizes), ", got ",
                    rstd.sizes());
  return rstd.reshape(sizes);
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward_quant(
    const at::Tensor& dy, const at::Tensor& x, const at::Tensor& rstd, const at::Tensor& gamma,
    const at::Tensor& scale_x, const MaybeTensor& offset_x, std::optional<bool> div_mode,
    c10::string_view quant_mode, std::optional<std::int64_t> dst_type) {
  check_gamma(kOp, x, gamma);
  check(dy, x, scale_x, offset_x, quant_mode);
  const compute::Element element =
      require_element({.op = kOp, .argument = "dst_type"}, dst_type.value_or(1));
  TORCH_CHECK_VALUE(element == compute::Element::kInt8 || element == compute::Element::kHifloat8,
                    kOp, ": expected dst_type of int8 or hifloat8, got ", dst_type.value_or(1));
  const RmsNormGrads grads = rms_norm_grads(dy, x, gamma, kept_rstd(rstd, x, gamma));
  const at::Tensor scale = widened(scale_x).reshape({1});
  at::Tensor values = div_mode.value_or(true) ? grads.x / scale : grads.x * scale;
  if (given(offset_x)) values = values + widened(*offset_x).reshape({1});
  return {coded_to(kOp, values, {.element = element, .rounding = cast_rounding(element)}),
          grads.gamma.to(at::kFloat)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&rms_norm_backward_quant>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
