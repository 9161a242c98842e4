// npu_add_rms_norm and its forms: the sum of x1 and x2, and its RMS norm.
#include <ATen/TensorOperators.h>

#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/norm/rms_norm.h"
#include "ops/norm/row_describers.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: add, square, sum, scale, gamma.
constexpr aten::VectorCost kCost{.linear = 5, .reductions = 1, .passes = 2};
constexpr aten::VectorCost kCastCost{.linear = 6, .reductions = 1, .passes = 2};
constexpr aten::Entry kEntries[] = {
    {"npu_add_rms_norm", normalized_rows<2, kCost>},
    {"npu_add_rms_norm_cast", normalized_rows<2, kCastCost>},
    {"npu_add_rms_norm_v2", normalized_rows<2, kCost>},
    {"npu_add_rms_norm_v2_functional", normalized_rows<2, kCost>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
std::tuple<at::Tensor, at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x1,
                                                            const at::Tensor& x2,
                                                            const at::Tensor& gamma,
                                                            double epsilon) {
  const Sum sum = sum_of("npu_add_rms_norm", x1, x2, gamma);
  const Normalized result = normalize_rms(sum.wide, widened(gamma), epsilon);
  return {result.y.to(x1.scalar_type()), result.rstd, sum.narrow};
}

// The norm twice: as computed, and rounded to x1's dtype.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> add_rms_norm_cast(
    const at::Tensor& x1, const at::Tensor& x2, const at::Tensor& gamma, double epsilon) {
  const Sum sum = sum_of("npu_add_rms_norm_cast", x1, x2, gamma);
  const Normalized result = normalize_rms(sum.wide, widened(gamma), epsilon);
  return {result.y, result.y.to(x1.scalar_type(), false, true), result.rstd, sum.narrow};
}

// In place: the norm goes to x1, the sum to x2.
at::Tensor add_rms_norm_v2(at::Tensor& x1, at::Tensor& x2, const at::Tensor& gamma,
                           double epsilon) {
  const auto [y, rstd, x] = add_rms_norm(x1, x2, gamma, epsilon);
  x1.copy_(y);
  x2.copy_(x);
  return rstd;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> add_rms_norm_v2_functional(const at::Tensor& x1,
                                                                          const at::Tensor& x2,
                                                                          const at::Tensor& gamma,
                                                                          double epsilon) {
  const auto [y, rstd, x] = add_rms_norm(x1, x2, gamma, epsilon);
  return {rstd, y, x};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&add_rms_norm>(m, "npu_add_rms_norm");
  composed_kernel<&add_rms_norm_cast>(m, "npu_add_rms_norm_cast");
  composed_kernel<&add_rms_norm_v2>(m, "npu_add_rms_norm_v2");
  composed_kernel<&add_rms_norm_v2_functional>(m, "npu_add_rms_norm_v2_functional");
}

}  // namespace
}  // namespace npu_sim::ops
