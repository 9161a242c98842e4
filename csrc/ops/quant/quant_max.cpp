// npu_quant_max: codes of values times a given scale, and the largest magnitude, of all or of
// groups of rows. The documentation and the kernel multiply by the scale (op-plugin's golden
// divides). Source: aclnnQuantMax, aclnnGroupedQuantMax and their kernels in hicann/ops-nn.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_quant_max";

// --- work: a convert, magnitude, maximum, scale, and a convert.
model::Work describe_quant_max(const aten::Call& call) { return aten::element_wise(call, 5, 0); }
constexpr aten::Entry kEntries[] = {{kOp, describe_quant_max}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
at::Tensor largest_magnitude(const at::Tensor& rows) {
  return rows.numel() == 0 ? at::zeros({}, rows.options()) : rows.abs().amax();
}

// Scales and largest magnitudes of the rows before each end.
std::tuple<at::Tensor, at::Tensor> by_group(const at::Tensor& values, const at::Tensor& scale,
                                            const Integers& ends) {
  at::Tensor scaled = at::empty(values.sizes(), values.options());
  at::Tensor largest = at::empty({scale.size(0)}, values.options());
  std::int64_t first = 0;
  for (std::size_t group = 0; group < ends.size(); ++group) {
    const auto place = static_cast<std::int64_t>(group);
    const at::Tensor rows = values.narrow(0, first, ends[group] - first);
    scaled.narrow(0, first, ends[group] - first).copy_(rows * scale.select(0, place));
    largest.select(0, place).copy_(largest_magnitude(rows));
    first = ends[group];
  }
  return {scaled, largest};
}

// --- checks
compute::Rounding rounding(std::string_view mode, Element element) {
  if (element == Element::kHifloat8) {
    TORCH_CHECK_NOT_IMPLEMENTED(mode != "hybrid", kOp, ": round_mode 'hybrid' is not built yet");
    TORCH_CHECK_VALUE(mode == "round", kOp,
                      ": expected round_mode of 'round' or 'hybrid' for hifloat8, got '", mode,
                      "'");
    return compute::Rounding::kRound;
  }
  TORCH_CHECK_VALUE(mode == "rint", kOp, ": expected round_mode of 'rint' for fp8, got '", mode,
                    "'");
  return compute::Rounding::kRint;
}

void check_ends(const Integers& ends, std::int64_t rows) {
  std::int64_t before = 0;
  for (const std::int64_t end : ends) {
    TORCH_CHECK_VALUE(end >= before, kOp, ": expected group_list of ends that do not fall, got ",
                      at::IntArrayRef(ends));
    before = end;
  }
  TORCH_CHECK_VALUE(before == rows, kOp, ": expected group_list that ends with x's ", rows,
                    " rows, got ", before);
}

// --- op
std::tuple<at::Tensor, at::Tensor> quant_max(const at::Tensor& x, const at::Tensor& scale,
                                             std::string_view round_mode, std::int64_t dst_dtype,
                                             const MaybeTensor& group_list) {
  const Element element = require_element({.op = kOp, .argument = "dst_dtype"}, dst_dtype);
  TORCH_CHECK_VALUE(
      element == Element::kHifloat8 || element == Element::kE4m3 || element == Element::kE5m2, kOp,
      ": expected dst_dtype of hifloat8, float8_e5m2 or float8_e4m3fn, got ", dst_dtype);
  const compute::Rounding how = rounding(round_mode, element);
  TORCH_CHECK_TYPE(x.scalar_type() == at::kFloat || x.scalar_type() == at::kHalf ||
                       x.scalar_type() == at::kBFloat16,
                   kOp, ": expected x of float32, float16 or bfloat16, got ", x.scalar_type());
  const bool grouped = given(group_list) && group_list->dim() > 0 && group_list->size(0) > 1;
  const std::int64_t groups = grouped ? group_list->size(0) : 1;
  TORCH_CHECK_VALUE(x.dim() >= (grouped ? 2 : 1) && x.dim() <= 8, kOp, ": expected x of ",
                    grouped ? 2 : 1, " to 8 axes, got ", x.sizes());
  TORCH_CHECK_TYPE(scale.scalar_type() == at::kFloat, kOp, ": expected scale of float32, got ",
                   scale.scalar_type());
  TORCH_CHECK_VALUE(scale.sizes() == at::IntArrayRef{groups}, kOp, ": expected scale of [", groups,
                    "], got ", scale.sizes());
  const at::Tensor wide = widened(x);
  if (!grouped || x.is_meta()) {
    const at::Tensor largest = largest_magnitude(wide).expand({groups}).to(x.scalar_type());
    return {encoded(kOp, grouped ? wide : wide * scale, element, how), largest.contiguous()};
  }
  TORCH_CHECK_TYPE(group_list->scalar_type() == at::kLong, kOp,
                   ": expected group_list of int64, got ", group_list->scalar_type());
  const Integers ends = integers_in(*group_list);
  check_ends(ends, x.size(0));
  const auto [scaled, largest] = by_group(wide, scale, ends);
  return {encoded(kOp, scaled, element, how), largest.to(x.scalar_type())};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&quant_max>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
