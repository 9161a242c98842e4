// npu_gelu_quant: GELU, then a quantisation with given scales, or with a scale a row.
#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/quantized.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_gelu_quant";

// --- work: GELU (12 and 2), then as npu_dynamic_quant, or scale, offset, round and converts.
model::Work describe(const aten::Call& call) {
  constexpr std::size_t kMode = 4;
  const bool dynamic = call.arguments[kMode].toStringView() == "dynamic";
  return dynamic ? quantized_rows<26, 2>(call) : aten::element_wise(call, 17, 2);
}
constexpr aten::Entry kEntries[] = {{"npu_gelu_quant", describe}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Arguments {
  const at::Tensor& input;
  const MaybeTensor& scale;
  const MaybeTensor& offset;
  bool dynamic;
};

void check(const Arguments& arguments, c10::string_view approximate, c10::string_view quant_mode) {
  const at::Tensor& input = arguments.input;
  TORCH_CHECK_TYPE(input.is_floating_point() && input.scalar_type() != at::kDouble, kOp,
                   ": expected input of float16, bfloat16 or float32, got ", input.scalar_type());
  TORCH_CHECK_VALUE(approximate == "none" || approximate == "tanh", kOp,
                    ": expected approximate none or tanh, got '", approximate, "'");
  TORCH_CHECK_VALUE(arguments.dynamic || quant_mode == "static", kOp,
                    ": expected quant_mode dynamic or static, got '", quant_mode, "'");
  TORCH_CHECK_VALUE(input.dim() > (arguments.dynamic ? 1 : 0) && input.numel() > 0, kOp,
                    ": expected input with elements, of two axes or more in quant_mode dynamic, "
                    "got ",
                    input.sizes());
  TORCH_CHECK_VALUE(arguments.dynamic || given(arguments.scale), kOp,
                    ": expected input_scale in quant_mode static, got None");
  TORCH_CHECK_VALUE(
      !given(arguments.offset) ||
          (given(arguments.scale) && arguments.offset->sizes() == arguments.scale->sizes()),
      kOp, ": expected input_offset of the shape of input_scale");
}

// One number, or one an element of the last axis.
at::Tensor along_last(const char* argument, const at::Tensor& parameter, const at::Tensor& input) {
  const bool fits =
      parameter.dim() == 1 && (parameter.size(0) == 1 || parameter.size(0) == input.size(-1));
  TORCH_CHECK_VALUE(fits, kOp, ": expected ", argument, " of [1] or [", input.size(-1), "], got ",
                    parameter.sizes());
  TORCH_CHECK_TYPE(parameter.is_floating_point(), kOp, ": expected a floating ", argument, ", got ",
                   parameter.scalar_type());
  return widened(parameter);
}

Target target_of(std::optional<std::int64_t> dst_type, c10::string_view round_mode) {
  const compute::Element element =
      require_element({.op = kOp, .argument = "dst_type"}, dst_type.value_or(1));
  TORCH_CHECK_VALUE(compute::bits(element) == 8, kOp,
                    ": expected dst_type of int8, fp8 or hifloat8, got ", dst_type.value_or(1));
  return {.element = element, .rounding = static_rounding(kOp, element, round_mode)};
}

std::tuple<at::Tensor, at::Tensor> gelu_quant(const at::Tensor& input, const MaybeTensor& scale,
                                              const MaybeTensor& offset,
                                              c10::string_view approximate,
                                              c10::string_view quant_mode,
                                              std::optional<std::int64_t> dst_type,
                                              c10::string_view round_mode) {
  const Arguments arguments{input, scale, offset, quant_mode == "dynamic"};
  check(arguments, approximate, quant_mode);
  const Target target = target_of(dst_type, round_mode);
  at::Tensor y = at::gelu(widened(input), approximate);
  if (given(scale)) y = y * along_last("input_scale", *scale, input);
  if (arguments.dynamic) {
    const Quantized result = quantize_rows(kOp, y, target);
    return {result.codes, result.scale};
  }
  if (given(offset)) y = y + along_last("input_offset", *offset, input);
  return {coded_to(kOp, y, target), at::Tensor()};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&gelu_quant>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
