// npu_quant_matmul as its operators share it: int8 with scales of a token and of a channel.
#pragma once

#include <ATen/core/Tensor.h>

#include "ops/matmul/product_arguments.h"

namespace npu_sim::ops {

// Scales of x1's rows and x2's columns, and a bias: an integer one is added to the sums, another
// one to what has been scaled.
struct TokenScaled {
  const char* op;
  Coded x1;
  Coded x2;
  at::Tensor token;    // [m], [1] or undefined
  at::Tensor channel;  // [n] or [1]
  at::Tensor bias;     // undefined: none
};

// In fp32. Raises ValueError where scales or bias do not fit.
[[nodiscard]] at::Tensor token_scaled(const TokenScaled& product);

}  // namespace npu_sim::ops
