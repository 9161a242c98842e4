// npu_deformable_conv2d and its gradient: a convolution of values that are sampled where offsets
// say. Sources: the documentation of aclnnDeformableConv2d in CANN's ops-nn, and op-plugin's test
// of the operator, which has the order of the offsets: x, y and mask, each by group and kernel
// position.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/grid_sampler_2d.h>
#include <ATen/ops/grid_sampler_2d_backward.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <array>

#include "aten/describe/registry.h"
#include "aten/describe/work_of.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: a sample is four products and sums of its neighbours, weights and a mask; what is
// sampled goes through memory to the convolution.
model::Work sampling(const at::Tensor& input, const at::Tensor& offset, const at::Tensor& samples,
                     int linear) {
  return model::VectorWork{.elements = samples.numel(),
                           .read = aten::bytes_of(input) + aten::bytes_of(offset),
                           .written = aten::bytes_of(samples),
                           .linear_ops = static_cast<std::int16_t>(linear)};
}

model::Work convolving(const at::Tensor& samples, const at::Tensor& weight, const at::Tensor& out,
                       model::ConvolutionPass pass) {
  const std::int64_t positions = aten::size_along(weight, 2) * aten::size_along(weight, 3);
  const std::int64_t channels = aten::size_along(samples, 1);
  return model::ConvolutionWork{
      .pass = pass,
      .batch = aten::size_along(samples, 0),
      .groups = aten::ratio(channels, aten::size_along(weight, 1)),
      .in_channels = channels,
      .out_channels = aten::size_along(weight, 0),
      .in_positions = aten::size_along(samples, 2) * aten::size_along(samples, 3),
      .out_positions = aten::size_along(out, 2) * aten::size_along(out, 3),
      .kernel_positions = positions,
      .format = aten::format_of(samples)};
}

model::Work sample(const aten::Call& call) {
  return sampling(aten::tensor_at(call, 0), aten::tensor_at(call, 2), call.result(1), 16);
}
model::Work convolve(const aten::Call& call) {
  return convolving(call.result(1), aten::tensor_at(call, 1), call.result(),
                    model::ConvolutionPass::kForward);
}
model::Work convolve_back(const aten::Call& call) {
  return convolving(aten::tensor_at(call, 2), aten::tensor_at(call, 3), aten::tensor_at(call, 1),
                    model::ConvolutionPass::kInputGrad);
}
model::Work convolve_weight(const aten::Call& call) {
  return convolving(aten::tensor_at(call, 2), aten::tensor_at(call, 3), aten::tensor_at(call, 1),
                    model::ConvolutionPass::kWeightGrad);
}
// Gradients of the four neighbours, of both coordinates and of the mask.
model::Work sample_back(const aten::Call& call) {
  return sampling(aten::tensor_at(call, 0), aten::tensor_at(call, 4), aten::tensor_at(call, 2), 40);
}
constexpr aten::Describer kThenConvolves[] = {convolve};
constexpr aten::Describer kThenBack[] = {convolve_weight, sample_back};
constexpr aten::Entry kEntries[] = {
    {"npu_deformable_conv2d", sample, kThenConvolves},
    {"npu_deformable_conv2dbk", convolve_back, kThenBack},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Geometry {
  const char* op;
  at::IntArrayRef kernel;    // height, width
  at::IntArrayRef stride;    // batch, channel, height, width
  at::IntArrayRef padding;   // top, bottom, left, right
  at::IntArrayRef dilation;  // as stride
  std::int64_t groups;
  std::int64_t deformable_groups;
};

void check_geometry(const Geometry& geometry, bool modulated) {
  const char* const op = geometry.op;
  const auto positive = [](at::IntArrayRef values) {
    return std::ranges::all_of(values, [](std::int64_t value) { return value > 0; });
  };
  TORCH_CHECK_VALUE(modulated, op, ": expected modulated of True, got False");
  TORCH_CHECK_VALUE(geometry.kernel.size() == 2 && positive(geometry.kernel), op,
                    ": expected kernel_size of two positive numbers, got ", geometry.kernel);
  TORCH_CHECK_VALUE(geometry.stride.size() == 4 && positive(geometry.stride), op,
                    ": expected stride of four positive numbers, got ", geometry.stride);
  TORCH_CHECK_VALUE(geometry.padding.size() == 4, op, ": expected padding of four numbers, got ",
                    geometry.padding);
  TORCH_CHECK_VALUE(geometry.dilation.size() == 4 && positive(geometry.dilation), op,
                    ": expected dilation of four positive numbers, got ", geometry.dilation);
  TORCH_CHECK_VALUE(geometry.groups > 0 && geometry.deformable_groups > 0, op,
                    ": expected groups and deformable_groups of 1 or more, got ", geometry.groups,
                    " and ", geometry.deformable_groups);
}

std::int64_t positions_along(const Geometry& geometry, std::int64_t length, std::size_t axis) {
  const std::int64_t reach = (geometry.kernel[axis] - 1) * geometry.dilation[2 + axis] + 1;
  const std::int64_t padded =
      length + geometry.padding[2 * axis] + geometry.padding[2 * axis + 1] - reach;
  return padded < 0 ? 0 : padded / geometry.stride[2 + axis] + 1;
}

void check_tensors(const Geometry& geometry, const at::Tensor& input, const at::Tensor& weight,
                   const at::Tensor& offset) {
  const char* const op = geometry.op;
  TORCH_CHECK_TYPE(input.is_floating_point() && input.scalar_type() == weight.scalar_type() &&
                       input.scalar_type() == offset.scalar_type(),
                   op, ": expected input, weight and offset of one floating dtype, got ",
                   input.scalar_type(), ", ", weight.scalar_type(), " and ", offset.scalar_type());
  TORCH_CHECK_VALUE(input.dim() == 4 && input.numel() > 0, op,
                    ": expected input of [batch, channels, height, width], got ", input.sizes());
  const std::int64_t channels = input.size(1);
  TORCH_CHECK_VALUE(channels % geometry.groups == 0 && channels % geometry.deformable_groups == 0,
                    op, ": expected groups and deformable_groups that divide the ", channels,
                    " channels of input, got ", geometry.groups, " and ",
                    geometry.deformable_groups);
  const std::array<std::int64_t, 3> inner{channels / geometry.groups, geometry.kernel[0],
                                          geometry.kernel[1]};
  TORCH_CHECK_VALUE(weight.dim() == 4 && weight.sizes().slice(1) == at::IntArrayRef(inner) &&
                        weight.size(0) % geometry.groups == 0,
                    op, ": expected weight of [out channels, ", at::IntArrayRef(inner), "], got ",
                    weight.sizes());
  const std::array<std::int64_t, 4> places{
      input.size(0), 3 * geometry.deformable_groups * geometry.kernel[0] * geometry.kernel[1],
      positions_along(geometry, input.size(2), 0), positions_along(geometry, input.size(3), 1)};
  TORCH_CHECK_VALUE(offset.sizes() == at::IntArrayRef(places) && offset.numel() > 0, op,
                    ": expected offset of ", at::IntArrayRef(places), ", got ", offset.sizes());
}

// --- compute
// Offsets as [part, batch, group, out height, kernel height, out width, kernel width].
at::Tensor by_part(const Geometry& geometry, const at::Tensor& offset) {
  return offset
      .view({offset.size(0), 3, geometry.deformable_groups, geometry.kernel[0], geometry.kernel[1],
             offset.size(2), offset.size(3)})
      .permute({1, 0, 2, 5, 3, 6, 4});
}

// The inverse of `by_part`.
at::Tensor as_offset(const at::Tensor& parts) {
  const at::Tensor turned = parts.permute({1, 0, 2, 4, 6, 3, 5});
  return turned.reshape({turned.size(0), -1, turned.size(5), turned.size(6)});
}

// Where the plain convolution would read along `axis`: [out positions, kernel positions].
at::Tensor plain_places(const Geometry& geometry, std::int64_t count, std::size_t axis,
                        const at::TensorOptions& options) {
  const at::Tensor out = at::arange(count, options) * geometry.stride[2 + axis];
  const at::Tensor kernel =
      at::arange(geometry.kernel[axis], options) * geometry.dilation[2 + axis];
  return out.unsqueeze(1) + kernel - geometry.padding[2 * axis];
}

struct Sampling {
  at::Tensor images;  // [batch groups, channels of a group, height, width]
  at::Tensor grid;    // places as torch.grid_sample has them: edges of the image at -1 and 1
  at::Tensor mask;    // [batch groups, 1, rows, columns]
};

Sampling sampling_of(const Geometry& geometry, const at::Tensor& input, const at::Tensor& offset) {
  const at::Tensor parts = by_part(geometry, widened(offset));
  const std::int64_t height = input.size(2);
  const std::int64_t width = input.size(3);
  const at::Tensor x = parts[0] + plain_places(geometry, offset.size(3), 1, parts.options());
  const at::Tensor y =
      parts[1] +
      plain_places(geometry, offset.size(2), 0, parts.options()).unsqueeze(-1).unsqueeze(-1);
  const std::int64_t images = input.size(0) * geometry.deformable_groups;
  const std::int64_t rows = offset.size(2) * geometry.kernel[0];
  const std::int64_t columns = offset.size(3) * geometry.kernel[1];
  const auto flat = [&](const at::Tensor& values) {
    return values.reshape({images, rows, columns});
  };
  const at::Tensor grid = at::stack({(flat(x) * 2 + 1) / static_cast<double>(width) - 1,
                                     (flat(y) * 2 + 1) / static_cast<double>(height) - 1},
                                    -1);
  return {.images = widened(input).reshape({images, -1, height, width}),
          .grid = grid,
          .mask = flat(parts[2]).unsqueeze(1)};
}

constexpr std::int64_t kBilinear = 0;
constexpr std::int64_t kZeros = 0;

at::Tensor unmasked(const Sampling& sampling) {
  return at::grid_sampler_2d(sampling.images, sampling.grid, kBilinear, kZeros,
                             /*align_corners=*/false);
}

std::tuple<at::Tensor, at::Tensor> deformable_conv2d(
    const at::Tensor& input, const at::Tensor& weight, const at::Tensor& offset,
    const MaybeTensor& bias, at::IntArrayRef kernel_size, at::IntArrayRef stride,
    at::IntArrayRef padding, at::IntArrayRef dilation, std::int64_t groups,
    std::int64_t deformable_groups, bool modulated) {
  const Geometry geometry{"npu_deformable_conv2d", kernel_size, stride, padding, dilation, groups,
                          deformable_groups};
  check_geometry(geometry, modulated);
  check_tensors(geometry, input, weight, offset);
  TORCH_CHECK_VALUE(!given(bias) || bias->numel() == weight.size(0), geometry.op,
                    ": expected bias of [", weight.size(0), "], got ",
                    given(bias) ? bias->sizes() : at::IntArrayRef{});
  const Sampling sampling = sampling_of(geometry, input, offset);
  const at::Tensor samples =
      (unmasked(sampling) * sampling.mask)
          .view({input.size(0), input.size(1), sampling.mask.size(2), sampling.mask.size(3)});
  const MaybeTensor wide_bias = given(bias) ? MaybeTensor(widened(*bias)) : std::nullopt;
  const at::Tensor y = at::convolution(samples, widened(weight), wide_bias, kernel_size, {0, 0},
                                       {1, 1}, /*transposed=*/false, {0, 0}, groups);
  return {y.to(input.scalar_type()), samples.to(input.scalar_type())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> deformable_conv2d_backward(
    const at::Tensor& input, const at::Tensor& grad_output, const at::Tensor& offset_out,
    const at::Tensor& weight, const at::Tensor& offset, at::IntArrayRef kernel_size,
    at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, std::int64_t groups,
    std::int64_t deformable_groups, bool modulated) {
  const Geometry geometry{"npu_deformable_conv2dbk", kernel_size, stride, padding, dilation, groups,
                          deformable_groups};
  check_geometry(geometry, modulated);
  check_tensors(geometry, input, weight, offset);
  const std::array<std::int64_t, 4> expected{input.size(0), weight.size(0), offset.size(2),
                                             offset.size(3)};
  TORCH_CHECK_VALUE(grad_output.sizes() == at::IntArrayRef(expected), geometry.op,
                    ": expected grad_output of ", at::IntArrayRef(expected), ", got ",
                    grad_output.sizes());
  const std::array<std::int64_t, 4> sampled{input.size(0), input.size(1),
                                            offset.size(2) * kernel_size[0],
                                            offset.size(3) * kernel_size[1]};
  TORCH_CHECK_VALUE(offset_out.sizes() == at::IntArrayRef(sampled), geometry.op,
                    ": expected offset_out of ", at::IntArrayRef(sampled), ", got ",
                    offset_out.sizes());
  const auto [of_samples, of_weight, of_bias] = at::convolution_backward(
      widened(grad_output), widened(offset_out), widened(weight), at::IntArrayRef{weight.size(0)},
      kernel_size, {0, 0}, {1, 1}, /*transposed=*/false, {0, 0}, groups, {true, true, true});
  const Sampling sampling = sampling_of(geometry, input, offset);
  const at::Tensor values = unmasked(sampling);
  const at::Tensor grad = of_samples.reshape(values.sizes());
  const auto [of_images, of_grid] = at::grid_sampler_2d_backward(
      grad * sampling.mask, sampling.images, sampling.grid, kBilinear, kZeros,
      /*align_corners=*/false, {true, true});
  const auto part = [&](const at::Tensor& flat) {
    return flat.reshape({input.size(0), deformable_groups, offset.size(2), kernel_size[0],
                         offset.size(3), kernel_size[1]});
  };
  const at::Tensor parts =
      at::stack({part(of_grid.select(-1, 0)) * 2 / static_cast<double>(input.size(3)),
                 part(of_grid.select(-1, 1)) * 2 / static_cast<double>(input.size(2)),
                 part((grad * values).sum(1))});
  const at::ScalarType dtype = input.scalar_type();
  return {of_images.reshape(input.sizes()).to(dtype), of_weight.to(dtype),
          as_offset(parts).to(dtype), of_bias.to(grad_output.scalar_type())};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&deformable_conv2d>(m, "npu_deformable_conv2d");
  composed_kernel<&deformable_conv2d_backward>(m, "npu_deformable_conv2dbk");
  derivative(m, "npu_deformable_conv2d",
             "input, weight, offset, bias: npu_deformable_conv2dbk(input, grad, result1, weight, "
             "offset, kernel_size, stride, padding, dilation, groups, deformable_groups, "
             "modulated)");
}

}  // namespace
}  // namespace npu_sim::ops
