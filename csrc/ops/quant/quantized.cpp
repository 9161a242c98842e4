#include "ops/quant/quantized.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/where.h>
#include <c10/util/Exception.h>

#include "ops/format/coded.h"
#include "ops/precision.h"

namespace npu_sim::ops {

double largest_of(const Target& target) {
  return target.largest == 0 ? static_cast<double>(compute::largest(target.element))
                             : target.largest;
}

at::Tensor codes_of(const char* op, const at::Tensor& values, const at::Tensor& scale,
                    const Target& target) {
  const at::Tensor ratio = at::where(scale == 0, 0.0, values / scale);
  return encoded(op, ratio.to(at::kFloat), target.element, target.rounding);
}

Quantized quantize_rows(const char* op, const at::Tensor& values, const Target& target) {
  TORCH_CHECK_VALUE(values.dim() >= 1 && values.size(-1) > 0, op,
                    ": expected rows with elements along the last axis, got ", values.sizes());
  const at::Tensor wide = widened(values);
  const at::Tensor scale = wide.abs().amax(-1, /*keepdim=*/true) / largest_of(target);
  return {.codes = codes_of(op, wide, scale, target), .scale = scale.squeeze(-1)};
}

}  // namespace npu_sim::ops
