#include "ops/quant/quantized.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/where.h>
#include <c10/util/Exception.h>

#include "ops/format/coded.h"
#include "ops/format/element_of.h"
#include "ops/precision.h"

namespace npu_sim::ops {

double largest_of(const Target& target) {
  return target.largest == 0 ? static_cast<double>(compute::largest(target.element))
                             : target.largest;
}

compute::Rounding static_rounding(const char* op, compute::Element element, c10::string_view mode) {
  const bool tapers = element == compute::Element::kHifloat8;
  TORCH_CHECK_VALUE(tapers ? mode == "round" || mode == "hybrid" : mode == "rint", op,
                    ": expected round_mode ", tapers ? "round or hybrid" : "rint",
                    " with this dst_type, got '", mode, "'");
  return cast_rounding(element);
}

at::Tensor coded_to(const char* op, const at::Tensor& values, const Target& target) {
  const bool usual = target.carrier == at::ScalarType::Undefined;
  return encoded_in(op, values, target.element, target.rounding,
                    usual ? carrier(target.element) : target.carrier);
}

at::Tensor codes_of(const char* op, const at::Tensor& values, const at::Tensor& scale,
                    const Target& target) {
  const at::Tensor ratio = at::where(scale == 0, 0.0, values / scale);
  return coded_to(op, ratio.to(at::kFloat), target);
}

Quantized quantize_rows(const char* op, const at::Tensor& values, const Target& target) {
  TORCH_CHECK_VALUE(values.dim() >= 1 && values.size(-1) > 0, op,
                    ": expected rows with elements along the last axis, got ", values.sizes());
  const at::Tensor wide = widened(values);
  const at::Tensor scale = wide.abs().amax(-1, /*keepdim=*/true) / largest_of(target);
  return {.codes = codes_of(op, wide, scale, target), .scale = scale.squeeze(-1)};
}

}  // namespace npu_sim::ops
