// What the fused norms share: the axes that gamma covers, and the norm itself.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace npu_sim::ops {

struct Normalized {
  at::Tensor y;     // of the input's shape
  at::Tensor rstd;  // input's axes before gamma's, then ones
};

// input / sqrt(mean(input^2) + epsilon) * gamma over gamma's axes, in the input's dtype.
[[nodiscard]] Normalized normalize_rms(const at::Tensor& input, const at::Tensor& gamma,
                                       double epsilon);

struct RmsNormGrads {
  at::Tensor x;
  at::Tensor gamma;
};

// The gradients of input * rstd * gamma in the dtype they are computed in. `rstd` has the input's
// axes before gamma's, then ones.
[[nodiscard]] RmsNormGrads rms_norm_grads(const at::Tensor& dy, const at::Tensor& input,
                                          const at::Tensor& gamma, const at::Tensor& rstd);

struct Sum {
  at::Tensor wide;    // what is normalised: not rounded between the sum and the norm
  at::Tensor narrow;  // what is returned, in x1's dtype
};

// x1 + x2 of one shape and dtype, with the last axes of gamma. Raises ValueError or TypeError where
// they are not.
[[nodiscard]] Sum sum_of(const char* op, const at::Tensor& x1, const at::Tensor& x2,
                         const at::Tensor& gamma);

// The last axes of `input`, as many as `gamma` has.
[[nodiscard]] std::vector<std::int64_t> normalized_axes(const at::Tensor& input,
                                                        const at::Tensor& gamma);

// Throws ValueError unless gamma has the last axes of input, TypeError unless both are floating.
void check_gamma(const char* op, const at::Tensor& input, const at::Tensor& gamma);

}  // namespace npu_sim::ops
