// The residual streams of manifold-constrained hyper-connections (mHC).
//
// x is [batch, tokens, streams, width] or [tokens, streams, width]; gates have [..., streams], the
// mixing matrix [..., streams, streams]. Gates and mixing are fp32. Source: op-plugin@517f2e7d,
// docs and tests of npu_mhc_pre, npu_mhc_post and npu_mhc_sinkhorn.
#pragma once

#include <ATen/core/Tensor.h>

#include "ops/optional_tensor.h"

namespace npu_sim::ops {

// Streams of x. Throws ValueError unless x has 3 or 4 axes.
[[nodiscard]] std::int64_t streams_of(const char* op, const at::Tensor& x);

// Throws ValueError unless `tensor` has the shape `expected`.
void check_shape(const char* op, const char* argument, const at::Tensor& tensor,
                 at::IntArrayRef expected);

}  // namespace npu_sim::ops
