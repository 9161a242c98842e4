// Arguments that the quantised products share: coded operands, biases, the dtype of the result.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>

#include "ops/format/element_of.h"
#include "ops/matmul/scaled_product.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {

using MaybeInteger = std::optional<std::int64_t>;

// An operand whose format `dtype` names, or else its own dtype. float32 without a word in `dtype`
// carries eight fp4 codes, as npu_convert_weight_to_int4pack packs them.
[[nodiscard]] Coded packed_operand(const at::Tensor& tensor, MaybeInteger dtype);

// The torch dtype of an output_dtype argument: a c10::ScalarType or 256 + aclDataType; `otherwise`
// where it is not given. Raises ValueError unless it is one of `allowed`.
[[nodiscard]] at::ScalarType result_dtype(ArgumentName name, MaybeInteger dtype,
                                          at::ScalarType otherwise,
                                          std::initializer_list<at::ScalarType> allowed);

// The tensor, undefined where it was not given.
[[nodiscard]] inline at::Tensor or_undefined(const MaybeTensor& tensor) {
  return tensor.value_or(at::Tensor{});
}

[[nodiscard]] inline bool is_fp8(const Coded& operand) {
  return operand.element == compute::Element::kE4m3 || operand.element == compute::Element::kE5m2;
}

// Whether `scale` holds powers of two: what `dtype` says, or the tensor's own dtype.
[[nodiscard]] bool is_e8m0_scale(const at::Tensor& scale, MaybeInteger dtype = std::nullopt);

// Raises ValueError unless a and b are matrices, or batches that broadcast, whose K agree.
void check_product(const char* op, const Coded& a, const Coded& b);

// Raises ValueError unless `bias` is [n], or [1, n] or [batch, 1, n] of a product with as many
// axes.
void check_bias(const char* op, const at::Tensor& bias, const Coded& a, const Coded& b);

}  // namespace npu_sim::ops
