#include "ops/mla/rows.h"

#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

#include "ops/format/coded.h"
#include "ops/quant/mx.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {

QuantisedRows quantised_rows(const char* op, const at::Tensor& x, compute::Element element,
                             double clip) {
  const at::Tensor scale = x.abs().amax(-1, true) * clip / compute::largest(element);
  const at::Tensor codes =
      codes_of(op, x, scale, {.element = element, .rounding = cast_rounding(element)});
  return {.codes = codes, .scale = scale, .values = decoded(codes, element)};
}

QuantisedRows mx_quantised_rows(const char* op, const at::Tensor& x, compute::Element element) {
  TORCH_CHECK_VALUE(x.size(-1) % kMxBlock == 0, op, ": expected rows divisible by ", kMxBlock,
                    " for MXFP8, got ", x.sizes());
  const Quantized result = mx_quantize(op, x, {.element = element});
  // Without the half that fills up an odd last pair.
  const at::Tensor scale =
      result.scale.flatten(-2).narrow(-1, 0, x.size(-1) / kMxBlock).contiguous();
  return {.codes = result.codes, .scale = scale, .values = mx_values(result.codes, element, scale)};
}

at::Tensor mx_values(const at::Tensor& codes, compute::Element element, const at::Tensor& scale) {
  const at::Tensor blocks = decoded(codes, element).unflatten(-1, {scale.size(-1), kMxBlock});
  return (blocks * decoded_e8m0(scale).unsqueeze(-1)).flatten(-2);
}

}  // namespace npu_sim::ops
