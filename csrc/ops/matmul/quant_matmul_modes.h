// The modes of npu_quant_matmul: what shares a scale, and where scales, bias and offset come in.
#pragma once

#include <ATen/core/Tensor.h>

#include "ops/matmul/product_arguments.h"

namespace npu_sim::ops {

// A call whose operands have formats that go together. Tensors that were not given are undefined.
struct QuantProduct {
  Coded x1;
  Coded x2;
  at::Tensor scale;
  at::Tensor offset;
  at::Tensor token;  // pertoken_scale
  at::Tensor bias;
  at::Tensor result_scale;  // y_scale
  at::IntArrayRef groups;
  at::ScalarType out;
  bool mx;     // scales are powers of two
  bool typed;  // x1_dtype was given

  [[nodiscard]] std::int64_t m() const { return numbers_along(x1, -2); }
  [[nodiscard]] std::int64_t n() const { return numbers_along(x2, -1); }
  [[nodiscard]] std::int64_t k() const { return numbers_along(x1, -1); }
  [[nodiscard]] bool of_integers() const { return is_integer(*x1.element); }
  [[nodiscard]] bool of_fp8_by_fp4() const {
    return *x1.element == compute::Element::kE4m3 && *x2.element == compute::Element::kE2m1;
  }
};

// Whether the output pipe applies a scale that came in fp32, so that it is packed first.
[[nodiscard]] bool packs_scale(const at::Tensor& x1, const at::Tensor& scale, bool per_token,
                               bool typed, at::ScalarType out);

// The result in its dtype. Raises ValueError or TypeError for what the mode does not take.
[[nodiscard]] at::Tensor quant_product(const QuantProduct& call);

}  // namespace npu_sim::ops
