#include "ops/extension/block_scales.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>

namespace npu_sim::ops {

at::Tensor in_blocks(const at::Tensor& values, std::int64_t block) {
  const std::int64_t missing = (block - values.size(-1) % block) % block;
  const at::Tensor whole = missing == 0 ? values : at::constant_pad_nd(values, {0, missing}, 0);
  return whole.unflatten(-1, {whole.size(-1) / block, block});
}

PowerScales powers_above(const at::Tensor& scale) {
  constexpr std::int64_t kMantissaBits = 23;
  constexpr std::int64_t kMantissa = (std::int64_t{1} << kMantissaBits) - 1;
  const at::Tensor bits = scale.contiguous().view(at::kInt);
  const at::Tensor exponent =
      bits.__rshift__(kMantissaBits) + bits.bitwise_and(kMantissa).ne(0).to(at::kInt);
  return {.power = exponent.__lshift__(kMantissaBits).view(at::kFloat),
          .code = exponent.to(at::kByte)};
}

}  // namespace npu_sim::ops
