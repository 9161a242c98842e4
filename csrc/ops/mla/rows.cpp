#include "ops/mla/rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/frexp.h>
#include <ATen/ops/ldexp.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include "ops/format/coded.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
QuantisedRows quantised_rows(const char* op, const at::Tensor& x, compute::Element element,
                             double clip) {
  const at::Tensor largest = x.abs().amax(-1, true) * clip;
  const at::Tensor scale = largest / compute::largest(element);
  const at::Tensor divisor = at::where(scale == 0, at::ones_like(scale), scale);
  const at::Tensor codes = encoded(op, x / divisor, element, cast_rounding(element));
  return {.codes = codes, .scale = scale, .values = decoded(codes, element)};
}

QuantisedRows mx_quantised_rows(const char* op, const at::Tensor& x, compute::Element element) {
  TORCH_CHECK_VALUE(x.size(-1) % kMxBlock == 0, op, ": expected rows divisible by ", kMxBlock,
                    " for MXFP8, got ", x.sizes());
  const at::Tensor blocks = x.unflatten(-1, {x.size(-1) / kMxBlock, kMxBlock});
  const at::Tensor largest = blocks.abs().amax(-1, true);
  // frexp's mantissa is below 1, so its exponent is one above floor(log2).
  const at::Tensor exponents =
      std::get<1>(at::frexp(largest)).to(at::kInt) - 1 - compute::largest_exponent(element);
  const at::Tensor biased =
      at::where(largest == 0, at::zeros_like(exponents), (exponents + 127).clamp(0, 254));
  const at::Tensor scale = at::ldexp(at::ones_like(largest), biased - 127);
  const at::Tensor codes =
      encoded(op, (blocks / scale).flatten(-2), element, compute::Rounding::kRint);
  const at::Tensor values =
      (decoded(codes, element).unflatten(-1, {x.size(-1) / kMxBlock, kMxBlock}) * scale)
          .flatten(-2);
  return {.codes = codes, .scale = biased.squeeze(-1).to(at::kByte), .values = values};
}

at::Tensor mx_values(const at::Tensor& codes, compute::Element element, const at::Tensor& scale) {
  const at::Tensor blocks = decoded(codes, element).unflatten(-1, {scale.size(-1), kMxBlock});
  return (blocks * decoded_e8m0(scale).unsqueeze(-1)).flatten(-2);
}

}  // namespace npu_sim::ops
