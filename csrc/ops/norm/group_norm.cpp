// npu_group_norm_silu and npu_group_norm_swish: group norm, then y sigmoid(scale y); the gradient
// of the second.
#include <ATen/TensorOperators.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/native_group_norm_backward.h>
#include <ATen/ops/sigmoid.h>

#include <array>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: as aten::native_group_norm (14 in two sweeps) and a sigmoid with its product; the
// gradient forms the norm and the sigmoid again.
constexpr aten::VectorCost kForward{.linear = 17, .special = 2, .reductions = 2, .passes = 2};
constexpr aten::VectorCost kBackward{.linear = 22, .special = 2, .reductions = 2, .passes = 2};
template <std::size_t groups, std::size_t input, aten::VectorCost cost>
model::Work group_rows(const aten::Call& call) {
  const at::Tensor& x = aten::tensor_at(call, input);
  const std::int64_t rows = aten::size_along(x, 0) * aten::integer_at(call, groups, 1);
  return aten::row_wise(call, aten::ratio(x.numel(), rows), cost);
}
constexpr aten::Entry kEntries[] = {
    {"npu_group_norm_silu", group_rows<3, 0, kForward>},
    {"npu_group_norm_swish", group_rows<1, 0, kForward>},
    {"npu_group_norm_swish_grad", group_rows<2, 1, kBackward>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check_input(const char* op, const at::Tensor& input, std::int64_t groups) {
  TORCH_CHECK_TYPE(input.is_floating_point(), op, ": expected a floating input, got ",
                   input.scalar_type());
  TORCH_CHECK_VALUE(input.dim() >= 2 && input.dim() <= 8, op,
                    ": expected input [N, C, ...] of 2 to 8 axes, got ", input.sizes());
  TORCH_CHECK_VALUE(groups > 0 && input.size(1) % groups == 0, op,
                    ": expected a positive number of groups that divides C = ", input.size(1),
                    ", got ", groups);
}

void check_channels(const char* op, const char* name, const at::Tensor& input,
                    const MaybeTensor& tensor) {
  if (!given(tensor)) return;
  TORCH_CHECK_TYPE(tensor->is_floating_point(), op, ": expected a floating ", name, ", got ",
                   tensor->scalar_type());
  TORCH_CHECK_VALUE(tensor->dim() == 1 && tensor->size(0) == input.size(1), op, ": expected ", name,
                    " [", input.size(1), "], one a channel, got ", tensor->sizes());
}

// --- compute
at::Tensor wide_or_none(const MaybeTensor& tensor, const at::Tensor& like) {
  return given(tensor) ? tensor->to(like.scalar_type()) : at::Tensor();
}

struct GroupNorm {
  at::Tensor y;  // wide, of the input's shape
  at::Tensor mean;
  at::Tensor rstd;
};

GroupNorm group_norm(const at::Tensor& input, const MaybeTensor& weight, const MaybeTensor& bias,
                     std::int64_t groups, double eps) {
  const at::Tensor x = widened(input).contiguous();
  const std::int64_t n = x.size(0);
  const std::int64_t channels = x.size(1);
  const std::int64_t inner = n * channels == 0 ? 0 : x.numel() / (n * channels);
  auto [y, mean, rstd] = at::native_group_norm(x, wide_or_none(weight, x), wide_or_none(bias, x), n,
                                               channels, inner, groups, eps);
  return {.y = y, .mean = mean.view({n, groups}), .rstd = rstd.view({n, groups})};
}

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// The statistics have the dtype of weight where that and bias are given, else of input.
Three group_norm_silu(const at::Tensor& input, const MaybeTensor& weight, const MaybeTensor& bias,
                      std::int64_t group, double eps) {
  constexpr const char* kOp = "npu_group_norm_silu";
  check_input(kOp, input, group);
  check_channels(kOp, "weight", input, weight);
  check_channels(kOp, "bias", input, bias);
  const GroupNorm norm = group_norm(input, weight, bias, group, eps);
  const auto statistics =
      given(weight) && given(bias) ? weight->scalar_type() : input.scalar_type();
  return {(norm.y * at::sigmoid(norm.y)).to(input.scalar_type()), norm.mean.to(statistics),
          norm.rstd.to(statistics)};
}

Three group_norm_swish(const at::Tensor& input, std::int64_t groups, const at::Tensor& weight,
                       const at::Tensor& bias, std::optional<double> eps,
                       std::optional<double> swish_scale) {
  constexpr const char* kOp = "npu_group_norm_swish";
  check_input(kOp, input, groups);
  check_channels(kOp, "weight", input, weight);
  check_channels(kOp, "bias", input, bias);
  const GroupNorm norm = group_norm(input, weight, bias, groups, eps.value_or(1e-5));
  const at::Tensor gate = at::sigmoid(norm.y * swish_scale.value_or(1.0));
  return {(norm.y * gate).to(input.scalar_type()), norm.mean.to(weight.scalar_type()),
          norm.rstd.to(weight.scalar_type())};
}

// A channel's value in the shape that broadcasts over [N, C, ...].
at::Tensor over_channels(const at::Tensor& tensor, const at::Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape[1] = -1;
  return tensor.to(like.scalar_type()).view(shape);
}

// y = n w + b again from the statistics; with s = sigmoid(k y): d(y s) = s (1 + k y (1 - s)).
Three group_norm_swish_grad(const at::Tensor& grad, const at::Tensor& input, std::int64_t groups,
                            const at::Tensor& weight, const at::Tensor& bias,
                            const at::Tensor& mean, const at::Tensor& rstd,
                            std::array<bool, 3> wanted, std::optional<double> swish_scale) {
  constexpr const char* kOp = "npu_group_norm_swish_grad";
  check_input(kOp, input, groups);
  check_channels(kOp, "weight", input, weight);
  check_channels(kOp, "bias", input, bias);
  TORCH_CHECK_VALUE(grad.sizes() == input.sizes(), kOp, ": expected grad of ", input.sizes(),
                    ", the shape of input, got ", grad.sizes());
  const std::int64_t n = input.size(0);
  for (const at::Tensor* const statistic : {&mean, &rstd}) {
    TORCH_CHECK_VALUE(statistic->numel() == n * groups, kOp, ": expected mean and rstd [", n, ", ",
                      groups, "], got ", statistic->sizes());
  }
  const at::Tensor x = widened(input).contiguous();
  const auto dtype = x.scalar_type();
  const at::Tensor means = mean.to(dtype).view({n, groups});
  const at::Tensor scales = rstd.to(dtype).view({n, groups});
  const at::Tensor grouped = x.view({n, groups, -1});
  const at::Tensor normalized =
      ((grouped - means.unsqueeze(2)) * scales.unsqueeze(2)).view(x.sizes());
  const at::Tensor y = normalized * over_channels(weight, x) + over_channels(bias, x);
  const double k = swish_scale.value_or(1.0);
  const at::Tensor gate = at::sigmoid(y * k);
  const at::Tensor dy = widened(grad) * gate * (1 + y * k * (1 - gate));
  const std::int64_t channels = x.size(1);
  const std::int64_t inner = n * channels == 0 ? 0 : x.numel() / (n * channels);
  auto [dx, dweight, dbias] = at::native_group_norm_backward(
      dy.contiguous(), x, means, scales, weight.to(dtype), n, channels, inner, groups, wanted);
  const auto as = [](const at::Tensor& tensor, const at::Tensor& like) {
    return tensor.defined() ? tensor.to(like.scalar_type()) : tensor;
  };
  return {as(dx, input), as(dweight, weight), as(dbias, bias)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&group_norm_silu>(m, "npu_group_norm_silu");
  composed_kernel<&group_norm_swish>(m, "npu_group_norm_swish");
  composed_kernel<&group_norm_swish_grad>(m, "npu_group_norm_swish_grad");
  derivative(m, "npu_group_norm_swish",
             "input, weight, bias: npu_group_norm_swish_grad(grad, input, num_groups, weight, "
             "bias, result1, result2, grad_input_mask, swish_scale)");
}

}  // namespace
}  // namespace npu_sim::ops
