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

// The last axes of `input`, as many as `gamma` has.
[[nodiscard]] std::vector<std::int64_t> normalized_axes(const at::Tensor& input,
                                                        const at::Tensor& gamma);

// Throws ValueError unless gamma has the last axes of input, TypeError unless both are floating.
void check_gamma(const char* op, const at::Tensor& input, const at::Tensor& gamma);

}  // namespace npu_sim::ops
