// Convolutions: implicit matrix products on the cube, one kernel a direction.
#include "aten/describe/entry.h"
#include "aten/describe/operands.h"

namespace npu_sim::aten {
namespace {

using model::ConvolutionPass;
using model::ConvolutionWork;
using model::Work;

std::int64_t positions(const at::Tensor& tensor) {
  return ratio(tensor.numel(), size_along(tensor, 0) * size_along(tensor, 1));
}

// The convolution that leads from `in` [batch, channels, *spatial] to `out`. The weight may be
// folded to [out_channels, in_channels * kernel], as the slow_conv kernels hold it.
ConvolutionWork between(const at::Tensor& in, const at::Tensor& out, const at::Tensor& weight,
                        std::int64_t groups) {
  const std::int64_t in_channels = size_along(in, 1);
  const std::int64_t out_channels = size_along(out, 1);
  return {.batch = size_along(in, 0),
          .groups = groups,
          .in_channels = in_channels,
          .out_channels = out_channels,
          .in_positions = positions(in),
          .out_positions = positions(out),
          .kernel_positions = ratio(weight.numel() * groups, in_channels * out_channels),
          .format = format_of(in)};
}

// A transposed convolution is the input gradient of the one that leads the other way.
Work forward(const at::Tensor& input, const at::Tensor& output, const at::Tensor& weight,
             std::int64_t groups, bool transposed) {
  if (!transposed) return between(input, output, weight, groups);
  ConvolutionWork work = between(output, input, weight, groups);
  work.pass = ConvolutionPass::kInputGrad;
  return work;
}

Work forward_call(const Call& call, std::int64_t groups, bool transposed) {
  return forward(tensor_at(call, 0), output_of(call), tensor_at(call, 1), groups, transposed);
}

// convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)
Work convolution(const Call& call) {
  return forward_call(call, integer_at(call, 8, 1), boolean_at(call, 6, false));
}

// mkldnn_convolution(self, weight, bias, padding, stride, dilation, groups)
Work grouped_at_6(const Call& call) { return forward_call(call, integer_at(call, 6, 1), false); }

Work ungrouped(const Call& call) { return forward_call(call, 1, false); }

Work ungrouped_transposed(const Call& call) { return forward_call(call, 1, true); }

Work depthwise(const Call& call) {
  return forward_call(call, size_along(tensor_at(call, 0), 1), false);
}

// conv_tbc(input [time, batch, channels], weight [kernel, in, out]).
Work time_batch_channel(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const at::Tensor& weight = tensor_at(call, 1);
  return ConvolutionWork{.batch = size_along(input, 1),
                         .in_channels = size_along(weight, 1),
                         .out_channels = size_along(weight, 2),
                         .in_positions = size_along(input, 0),
                         .out_positions = size_along(output_of(call), 0),
                         .kernel_positions = size_along(weight, 0),
                         .format = format_of(input)};
}

bool made(const Call& call, std::size_t result) {
  return result < call.results.size() && call.results[result].isTensor() &&
         call.result(result).defined();
}

// Backward operators share (grad_output, input, weight, ...); groups and the transposed flag sit
// at places of their own. The bias gradient rides along with the weight's.
struct Backward {
  std::int64_t groups = 1;
  bool transposed = false;
};

Work input_grad(const Call& call, const Backward& backward) {
  if (!made(call, 0)) return model::NoWork{};
  const at::Tensor& grad = tensor_at(call, 0);
  const at::Tensor& input = tensor_at(call, 1);
  const at::Tensor& weight = tensor_at(call, 2);
  if (backward.transposed) return between(grad, input, weight, backward.groups);
  ConvolutionWork work = between(input, grad, weight, backward.groups);
  work.pass = ConvolutionPass::kInputGrad;
  return work;
}

Work weight_grad(const Call& call, const Backward& backward) {
  const at::Tensor& grad = tensor_at(call, 0);
  const at::Tensor& input = tensor_at(call, 1);
  if (made(call, 1)) {
    const at::Tensor& weight = tensor_at(call, 2);
    ConvolutionWork work = backward.transposed ? between(grad, input, weight, backward.groups)
                                               : between(input, grad, weight, backward.groups);
    work.pass = ConvolutionPass::kWeightGrad;
    return work;
  }
  if (!made(call, 2)) return model::NoWork{};
  const std::int64_t channels = size_along(grad, 1);
  return model::RowWork{.rows = channels,
                        .columns = ratio(grad.numel(), channels),
                        .read = bytes_of(grad),
                        .written = bytes_of(call.result(2)),
                        .compute = format_of(grad)};
}

// convolution_backward(grad_output, input, weight, bias_sizes, stride, padding, dilation,
//                      transposed, output_padding, groups, output_mask)
Backward full_backward(const Call& call) {
  return {.groups = integer_at(call, 9, 1), .transposed = boolean_at(call, 7, false)};
}
Work convolution_input_grad(const Call& call) { return input_grad(call, full_backward(call)); }
Work convolution_weight_grad(const Call& call) { return weight_grad(call, full_backward(call)); }

// convolution_backward_overrideable has no bias_sizes.
Backward overrideable_backward(const Call& call) {
  return {.groups = integer_at(call, 8, 1), .transposed = boolean_at(call, 6, false)};
}
Work overrideable_input_grad(const Call& call) {
  return input_grad(call, overrideable_backward(call));
}
Work overrideable_weight_grad(const Call& call) {
  return weight_grad(call, overrideable_backward(call));
}

Work slow_input_grad(const Call& call) { return input_grad(call, {}); }
Work slow_weight_grad(const Call& call) { return weight_grad(call, {}); }

constexpr Describer kConvolutionRest[] = {convolution_weight_grad};
constexpr Describer kOverrideableRest[] = {overrideable_weight_grad};
constexpr Describer kSlowRest[] = {slow_weight_grad};

constexpr Entry kEntries[] = {
    {"convolution", convolution},
    {"_convolution", convolution},
    {"convolution_overrideable", convolution},
    {"convolution_backward", convolution_input_grad, kConvolutionRest},
    {"convolution_backward_overrideable", overrideable_input_grad, kOverrideableRest},
    {"mkldnn_convolution", grouped_at_6},
    {"_nnpack_spatial_convolution", ungrouped},
    {"_slow_conv2d_forward", ungrouped},
    {"_slow_conv2d_backward", slow_input_grad, kSlowRest},
    {"slow_conv3d_forward", ungrouped},
    {"slow_conv_dilated2d", ungrouped},
    {"slow_conv_dilated3d", ungrouped},
    {"slow_conv_transpose2d", ungrouped_transposed},
    {"slow_conv_transpose3d", ungrouped_transposed},
    {"_conv_depthwise2d", depthwise},
    {"conv_depthwise3d", depthwise},
    {"conv_tbc", time_batch_channel},
};

}  // namespace

Entries convolution_entries() { return kEntries; }

}  // namespace npu_sim::aten
