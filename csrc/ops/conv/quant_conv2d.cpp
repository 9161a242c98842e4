// npu_quant_conv2d: a convolution of quantised operands, scaled by output channel.
// Source of dtypes: aclnnQuantConvolution in hicann/ops-nn and QuantConv2DKernelNpuOpApi.cpp in
// Ascend/op-plugin.
#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>

#include <algorithm>
#include <array>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/matmul/packed_scale.h"
#include "ops/matmul/product_arguments.h"
#include "ops/precision.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_quant_conv2d";

// --- work
model::Work describe_convolution(const aten::Call& call) {
  constexpr std::size_t kGroups = 6;
  constexpr std::size_t kInputDtype = 12;
  const at::Tensor& input = aten::tensor_at(call, 0);
  const at::Tensor& weight = aten::tensor_at(call, 1);
  const at::Tensor& out = call.result();
  const std::int64_t dtype = aten::integer_at(call, kInputDtype, -1);
  const std::optional<Element> element =
      element_of(input, dtype < 0 ? std::nullopt : MaybeInteger(dtype));
  return model::ConvolutionWork{
      .batch = input.size(0),
      .groups = aten::integer_at(call, kGroups, 1),
      .in_channels = input.size(1),
      .out_channels = weight.size(0),
      .in_positions = input.size(2) * input.size(3),
      .out_positions = out.size(2) * out.size(3),
      .kernel_positions = weight.size(2) * weight.size(3),
      .format = element.has_value() ? format_of(*element) : aten::format_of(input)};
}
constexpr aten::Entry kEntries[] = {{kOp, describe_convolution}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- checks
struct Convolution {
  Coded input;
  Coded weight;
  at::Tensor scale;
  at::Tensor bias;
  at::IntArrayRef strides;
  at::IntArrayRef pads;
  at::IntArrayRef dilations;
  std::int64_t groups;
  std::int64_t offset_x;
};

void check_formats(const Convolution& call) {
  const bool known = call.input.element == Element::kInt8 || call.input.element == Element::kE4m3 ||
                     call.input.element == Element::kHifloat8;
  TORCH_CHECK_TYPE(known && call.input.element == call.weight.element, kOp,
                   ": expected input and weight both of int8, float8_e4m3fn or hifloat8, got ",
                   call.input.codes.scalar_type(), " and ", call.weight.codes.scalar_type());
}

void check_shapes(const Convolution& call) {
  const at::Tensor& input = call.input.codes;
  const at::Tensor& weight = call.weight.codes;
  TORCH_CHECK_VALUE(input.dim() == 4 && weight.dim() == 4, kOp,
                    ": expected input of [n, c, h, w] and weight of four axes, got ", input.sizes(),
                    " and ", weight.sizes());
  TORCH_CHECK_VALUE(call.groups >= 1 && weight.size(1) * call.groups == input.size(1) &&
                        weight.size(0) % call.groups == 0,
                    kOp, ": expected weight of [out, ", input.size(1), " / groups, ..] for groups ",
                    call.groups, ", got ", weight.sizes());
  const auto within = [](at::IntArrayRef values, std::int64_t least, std::int64_t most) {
    return std::ranges::all_of(values,
                               [&](std::int64_t value) { return value >= least && value <= most; });
  };
  TORCH_CHECK_VALUE(within(call.strides, 1, 63), kOp, ": expected strides in [1, 63], got ",
                    call.strides);
  TORCH_CHECK_VALUE(within(call.pads, 0, 255), kOp, ": expected pads in [0, 255], got ", call.pads);
  TORCH_CHECK_VALUE(within(call.dilations, 1, 255), kOp, ": expected dilations in [1, 255], got ",
                    call.dilations);
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const auto place = static_cast<std::int64_t>(axis) + 2;
    const std::int64_t reach = call.dilations[axis] * (weight.size(place) - 1) + 1;
    const std::int64_t padded = input.size(place) + 2 * call.pads[axis];
    TORCH_CHECK_VALUE(weight.size(place) > 0 && padded >= reach, kOp,
                      ": expected a kernel that fits the padded input, got ", weight.sizes(),
                      " for ", input.sizes());
  }
  TORCH_CHECK_VALUE(call.scale.sizes() == at::IntArrayRef{weight.size(0)}, kOp,
                    ": expected scale of [", weight.size(0), "], got ", call.scale.sizes());
  TORCH_CHECK_VALUE(!call.bias.defined() || call.bias.sizes() == call.scale.sizes(), kOp,
                    ": expected bias of [", weight.size(0), "], got ", call.bias.sizes());
}

void check_dtypes(const Convolution& call, std::int64_t output_dtype) {
  TORCH_CHECK_TYPE(is_packed(call.scale) || call.scale.scalar_type() == at::kFloat, kOp,
                   ": expected scale of float32 or int64, got ", call.scale.scalar_type());
  if (!call.bias.defined()) return;
  const at::ScalarType bias = call.bias.scalar_type();
  const bool integers = call.input.element == Element::kInt8;
  const bool fits =
      bias == at::kFloat ||
      (integers && (static_cast<std::int64_t>(bias) == output_dtype ||
                    (bias == at::kInt && output_dtype == static_cast<std::int64_t>(at::kHalf))));
  TORCH_CHECK_TYPE(fits, kOp, ": expected bias of float32",
                   integers ? ", of output_dtype, or of int32 with float16" : "", ", got ", bias);
}

// --- compute
// Sums in fp64, which holds those of int8 exactly; padding has the value offset_x.
at::Tensor sums_of(const Convolution& call) {
  const at::ScalarType dtype = call.input.element == Element::kInt8 ? at::kDouble : at::kFloat;
  const std::array around{call.pads[1], call.pads[1], call.pads[0], call.pads[0]};
  const at::Tensor padded =
      at::constant_pad_nd(values_of(call.input).to(dtype), around, call.offset_x);
  constexpr std::array<std::int64_t, 2> kNoPads{0, 0};
  return at::conv2d(padded, values_of(call.weight).to(dtype), std::optional<at::Tensor>{},
                    call.strides, at::IntArrayRef(kNoPads), call.dilations, call.groups);
}

at::Tensor computed(const Convolution& call) {
  const auto by_channel = [](const at::Tensor& each) { return each.reshape({1, -1, 1, 1}); };
  const at::Tensor factors = is_packed(call.scale) ? factors_of(call.scale) : call.scale;
  const bool summed = call.bias.defined() && call.bias.scalar_type() == at::kInt;
  at::Tensor values = sums_of(call);
  if (summed) values = values + by_channel(call.bias);
  values = values.to(at::kFloat) * by_channel(factors);
  return call.bias.defined() && !summed ? values + by_channel(widened(call.bias)) : values;
}

// --- op
at::Tensor quant_conv2d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& scale,
                        at::IntArrayRef strides, at::IntArrayRef pads, at::IntArrayRef dilations,
                        std::int64_t groups, std::int64_t offset_x, std::string_view round_mode,
                        MaybeInteger output_dtype, const MaybeTensor& bias,
                        const MaybeTensor& offset, MaybeInteger input_dtype,
                        MaybeInteger weight_dtype) {
  TORCH_CHECK_VALUE(output_dtype.has_value(), kOp, ": expected output_dtype, got None");
  TORCH_CHECK_VALUE(!given(offset), kOp, ": expected no offset, got one");
  TORCH_CHECK_VALUE(offset_x >= -128 && offset_x <= 127, kOp,
                    ": expected offset_x in [-128, 127], got ", offset_x);
  const Convolution call{.input = {.codes = input, .element = element_of(input, input_dtype)},
                         .weight = {.codes = weight, .element = element_of(weight, weight_dtype)},
                         .scale = scale,
                         .bias = or_undefined(bias),
                         .strides = strides,
                         .pads = pads,
                         .dilations = dilations,
                         .groups = groups,
                         .offset_x = offset_x};
  check_formats(call);
  check_shapes(call);
  check_dtypes(call, *output_dtype);
  if (call.input.element == Element::kHifloat8 && element_of(*output_dtype) == Element::kHifloat8) {
    TORCH_CHECK_VALUE(round_mode == "round", kOp,
                      ": expected round_mode of 'round' for hifloat8, got '", round_mode, "'");
    return encoded(kOp, computed(call), Element::kHifloat8, cast_rounding(Element::kHifloat8));
  }
  const ArgumentName name{.op = kOp, .argument = "output_dtype"};
  const at::ScalarType out =
      call.input.element == Element::kInt8
          ? result_dtype(name, output_dtype, at::kHalf, {at::kHalf, at::kBFloat16})
          : result_dtype(name, output_dtype, at::kHalf, {at::kHalf, at::kBFloat16, at::kFloat});
  return computed(call).to(out);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&quant_conv2d>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
