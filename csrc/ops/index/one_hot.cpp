// npu_one_hot: a new axis that is `on` at the place of the value and `off` elsewhere.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>

#include <limits>
#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"

namespace npu_sim::ops {
namespace {

// --- work: a comparison and a select an output element.
constexpr aten::Entry kEntries[] = {{"npu_one_hot", aten::elements<2>}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
std::int64_t depth_of(const at::Tensor& input, std::int64_t depth) {
  constexpr const char* kOp = "npu_one_hot";
  TORCH_CHECK_VALUE(depth >= -1, kOp, ": expected depth of at least -1, got ", depth);
  if (depth != -1) return depth;
  TORCH_CHECK_VALUE(!input.is_meta() && input.numel() > 0, kOp,
                    ": expected a depth, because input has no values to infer it from");
  return std::max<std::int64_t>(input.max().item<std::int64_t>() + 1, 1);
}

// Numbers in fp32 where they are floating, as on the card.
at::ScalarType result_dtype(const at::Scalar& on, const at::Scalar& off) {
  constexpr const char* kOp = "npu_one_hot";
  TORCH_CHECK_TYPE(on.type() == off.type(), kOp,
                   ": expected on_value and off_value of one dtype, got ", on.type(), " and ",
                   off.type());
  if (on.type() != at::kDouble) return on.type();
  constexpr double kMost = std::numeric_limits<float>::max();
  TORCH_CHECK_VALUE(std::abs(on.toDouble()) <= kMost && std::abs(off.toDouble()) <= kMost, kOp,
                    ": expected on_value and off_value in the range of float32, got ",
                    on.toDouble(), " and ", off.toDouble());
  return at::kFloat;
}

// --- compute
// `axis` is the schema's num_classes: the real operator reads that argument as the new axis.
at::Tensor one_hot(const at::Tensor& input, std::int64_t axis, std::int64_t depth,
                   const at::Scalar& on, const at::Scalar& off) {
  constexpr const char* kOp = "npu_one_hot";
  TORCH_CHECK_TYPE(c10::isIntegralType(input.scalar_type(), /*includeBool=*/false), kOp,
                   ": expected an integer input, got ", input.scalar_type());
  TORCH_CHECK_VALUE(axis >= -1 && axis <= input.dim(), kOp,
                    ": expected num_classes, the new axis, in [-1, ", input.dim(), "], got ", axis);
  const std::int64_t place = axis == -1 ? input.dim() : axis;
  std::vector<std::int64_t> shape(static_cast<std::size_t>(input.dim()) + 1, 1);
  const std::int64_t classes = depth_of(input, depth);
  shape[static_cast<std::size_t>(place)] = classes;
  const auto options = input.options().dtype(result_dtype(on, off));
  const at::Tensor hit =
      input.unsqueeze(place).eq(at::arange(classes, input.options()).view(shape));
  return at::where(hit, at::full({}, on, options), at::full({}, off, options));
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&one_hot>(m, "npu_one_hot"); }

}  // namespace
}  // namespace npu_sim::ops
