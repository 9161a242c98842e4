// npu_quantize: scales and zero points that are given, for a tensor or for each place of an axis.
#include <ATen/TensorOperators.h>
#include <ATen/ops/round.h>

#include <limits>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/format/coded.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_quantize";

// --- work: scale, offset, round, two converts; the division is one of quarter rate.
model::Work describe_quantize(const aten::Call& call) {
  constexpr std::size_t kDivides = 5;
  return aten::boolean_at(call, kDivides, true) ? aten::element_wise(call, 4, 1)
                                                : aten::element_wise(call, 5, 0);
}
constexpr aten::Entry kEntries[] = {{"npu_quantize", describe_quantize}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// One place an axis as a shape that broadcasts; scalars and tensors of the input's rank stay.
at::Tensor along_axis(const char* argument, const at::Tensor& parameter, const at::Tensor& input,
                      std::int64_t axis) {
  const at::Tensor wide = widened(parameter);
  if (parameter.numel() == 1) return wide.reshape({});  // a scalar keeps every shape
  if (parameter.dim() == 1) {
    TORCH_CHECK_VALUE(parameter.size(0) == input.size(axis), kOp, ": expected ", argument,
                      " of [1] or [", input.size(axis), "], the size of input along axis ", axis,
                      ", got ", parameter.sizes());
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(input.dim()), 1);
    sizes[static_cast<std::size_t>(axis)] = parameter.size(0);
    return wide.reshape(sizes);
  }
  bool fits = parameter.dim() == input.dim();
  for (std::int64_t i = 0; fits && i < input.dim(); ++i) {
    fits = parameter.size(i) == 1 || (i == axis && parameter.size(i) == input.size(i));
  }
  TORCH_CHECK_VALUE(fits, kOp, ": expected ", argument, " of one axis, or of input's ", input.dim(),
                    " with sizes of 1 but along axis ", axis, ", got ", parameter.sizes());
  return wide;
}

template <class Integer>
at::Tensor rounded_to(const at::Tensor& values, at::ScalarType dtype) {
  // In fp64, which holds the bounds of every 32-bit integer.
  return at::round(values.to(at::kDouble))
      .clamp(std::numeric_limits<Integer>::min(), std::numeric_limits<Integer>::max())
      .to(dtype);
}

// Wide integers that only the dividing form makes; torch's quantised dtypes stand for plain ones.
std::optional<at::Tensor> as_integer(const at::Tensor& values, std::int64_t dtype) {
  const auto type = static_cast<at::ScalarType>(dtype);
  if (type == at::kByte || type == at::kQUInt8) return rounded_to<std::uint8_t>(values, at::kByte);
  if (type == at::kInt || type == at::kQInt32) return rounded_to<std::int32_t>(values, at::kInt);
  return std::nullopt;
}

// --- op
at::Tensor npu_quantize(const at::Tensor& input, const at::Tensor& scales,
                        const std::optional<at::Tensor>& zero_points, std::int64_t dtype,
                        std::int64_t axis, bool div_mode) {
  TORCH_CHECK_TYPE(input.is_floating_point(), kOp, ": expected floating input, got ",
                   input.scalar_type());
  // The multiplying kernel knows only the last axes: what does not name another is the last one.
  std::int64_t place = div_mode || axis < -1 ? axis : -1;
  if (place < 0) place += input.dim();
  const bool single = scales.numel() == 1;
  TORCH_CHECK_INDEX(single || (place >= 0 && place < input.dim()), kOp, ": expected axis in [",
                    -input.dim(), ", ", input.dim() - 1, "], got ", axis);
  const at::Tensor factors = along_axis("scales", scales, input, place);
  at::Tensor values = div_mode ? widened(input) / factors : widened(input) * factors;
  if (given(zero_points)) {
    TORCH_CHECK_VALUE(zero_points->numel() == scales.numel(), kOp, ": expected zero_points of ",
                      scales.sizes(), ", the shape of scales, got ", zero_points->sizes());
    values = values + along_axis("zero_points", *zero_points, input, place);
  }
  const std::optional<at::Tensor> integers = div_mode ? as_integer(values, dtype) : std::nullopt;
  if (integers.has_value()) return *integers;
  const Element element = require_element({.op = kOp, .argument = "dtype"}, dtype);
  const bool packed = compute::bits(element) == 4;
  TORCH_CHECK_VALUE(!packed || (element == Element::kInt4 && !div_mode), kOp,
                    ": expected dtype of int8, fp8 or hifloat8; uint8 or int32 with div_mode=True, "
                    "quint4x2 with div_mode=False; got ",
                    dtype);
  return encoded(kOp, values.to(at::kFloat), element, cast_rounding(element));
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&npu_quantize>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
