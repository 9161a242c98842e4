// npu_swiglu_quant: SwiGLU, then int8 or int4 with the scales of a row's group, or of the row.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/registry.h"
#include "ops/activation/gated_halves.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/quant/groups.h"
#include "ops/quant/quantized.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_swiglu_quant";
constexpr std::int64_t kDynamic = 1;

// --- work: SwiGLU (3 and 2), smooth, then as npu_dynamic_quant, or offset, round and converts.
model::Work describe(const aten::Call& call) {
  constexpr std::size_t kGroups = 3;
  constexpr std::size_t kMode = 5;
  constexpr std::size_t kListType = 6;
  const std::int64_t rows =
      covered_rows(call, {.list = kGroups, .counts = aten::integer_at(call, kListType, 0) == 1});
  const bool dynamic = aten::integer_at(call, kMode, 0) == kDynamic;
  return gated_work(call, rows, {.linear = dynamic ? 17 : 9, .special = 2, .rows = dynamic});
}
constexpr aten::Entry kEntries[] = {{"npu_swiglu_quant", describe}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
constexpr double kLeastMax = 1e-8;  // keeps the scale of a row of zeros finite

// 127 (7 for int4) over the largest magnitude of a row, which the card multiplies by and returns.
at::Tensor factors_of(const at::Tensor& rows, const Target& target) {
  return largest_of(target) / rows.abs().amax(-1, /*keepdim=*/true).clamp_min(kLeastMax);
}

// --- op
struct Arguments {
  const at::Tensor& x;
  const MaybeTensor& smooth_scales;
  const MaybeTensor& offsets;
  const MaybeTensor& group_index;
  std::int64_t list_type;

  [[nodiscard]] std::int64_t columns() const { return x.size(-1) / 2; }
  [[nodiscard]] std::int64_t rows() const { return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1); }
};

void check(const Arguments& arguments, std::int64_t quant_mode,
           std::optional<at::ScalarType> dst_type) {
  constexpr std::int64_t kLongestRow = 8192;
  const at::Tensor& x = arguments.x;
  TORCH_CHECK_TYPE(x.is_floating_point() && x.scalar_type() != at::kDouble, kOp,
                   ": expected x of float16, bfloat16 or float32, got ", x.scalar_type());
  TORCH_CHECK_VALUE(x.dim() > 1 && x.size(-1) > 0 && x.size(-1) <= kLongestRow, kOp,
                    ": expected x of two axes or more, the last of at most ", kLongestRow, ", got ",
                    x.sizes());
  TORCH_CHECK_VALUE(quant_mode == 0 || quant_mode == kDynamic, kOp,
                    ": expected quant_mode 0 (static) or 1 (dynamic), got ", quant_mode);
  TORCH_CHECK_VALUE(arguments.list_type == 0 || arguments.list_type == 1, kOp,
                    ": expected group_list_type 0 (ends) or 1 (counts), got ", arguments.list_type);
  const at::ScalarType dtype = dst_type.value_or(at::kChar);
  TORCH_CHECK_TYPE(dtype == at::kChar || dtype == at::kQUInt4x2, kOp,
                   ": expected dst_type torch.int8 or torch.quint4x2, got ", dtype);
  TORCH_CHECK_VALUE(dtype == at::kChar || x.size(-1) % 4 == 0, kOp,
                    ": expected a last axis of x divisible by 4 for torch.quint4x2, got ",
                    x.size(-1));
  const bool alike =
      given(arguments.smooth_scales) == given(arguments.offsets) &&
      (!given(arguments.offsets) || arguments.smooth_scales->sizes() == arguments.offsets->sizes());
  TORCH_CHECK_VALUE(quant_mode == kDynamic || alike, kOp,
                    ": expected smooth_scales and offsets of the same shape in quant_mode 0");
}

// The vectors of a parameter, [rows, columns or 1] by group; rows behind all groups take `beyond`.
at::Tensor of_rows(const char* argument, const at::Tensor& parameter, const Arguments& arguments,
                   double beyond) {
  const std::int64_t groups = given(arguments.group_index) ? arguments.group_index->size(0) : 1;
  const bool vectors = parameter.numel() == groups * arguments.columns() &&
                       parameter.size(-1) == arguments.columns();
  TORCH_CHECK_TYPE(parameter.scalar_type() == at::kFloat, kOp, ": expected ", argument,
                   " of float32, got ", parameter.scalar_type());
  TORCH_CHECK_VALUE(vectors || parameter.numel() == groups, kOp, ": expected ", argument, " of [",
                    groups, ", ", arguments.columns(), "] or [", groups, "], got ",
                    parameter.sizes());
  const at::Tensor all = parameter.reshape({groups, vectors ? arguments.columns() : 1});
  if (!given(arguments.group_index)) return all;
  const RowGroups list = row_groups(
      {.op = kOp, .argument = "group_index"}, *arguments.group_index,
      arguments.list_type == 0 ? GroupList::kEnds : GroupList::kCounts, arguments.rows());
  return by_row(all, list, arguments.rows(), beyond);
}

std::tuple<at::Tensor, at::Tensor> swiglu_quant(
    const at::Tensor& x, const MaybeTensor& smooth_scales, const MaybeTensor& offsets,
    const MaybeTensor& group_index, bool activate_left, std::int64_t quant_mode,
    std::int64_t group_list_type, std::optional<at::ScalarType> dst_type) {
  const Arguments arguments{x, smooth_scales, offsets, group_index, group_list_type};
  check(arguments, quant_mode, dst_type);
  const at::Tensor product = silu_product(gated_halves(kOp, x, -1, activate_left));
  at::Tensor y = product.reshape({arguments.rows(), arguments.columns()});
  if (given(smooth_scales)) y = y * of_rows("smooth_scales", *smooth_scales, arguments, 1);
  const bool int4 = dst_type == at::kQUInt4x2;
  const Target target{.element = int4 ? compute::Element::kInt4 : compute::Element::kInt8,
                      .carrier = int4 ? at::kByte : at::kChar};
  at::Tensor scale = at::zeros({arguments.rows(), 1}, y.options());
  if (quant_mode == kDynamic) {
    scale = factors_of(y, target);
    y = y * scale;
  } else if (given(offsets)) {
    y = y + of_rows("offsets", *offsets, arguments, 0);
  }
  const at::Tensor codes = coded_to(kOp, y, target).view(at::kChar);
  std::vector<std::int64_t> sizes(x.sizes().begin(), x.sizes().end() - 1);
  const at::Tensor scales = scale.reshape(sizes);
  sizes.push_back(codes.size(-1));
  return {codes.reshape(sizes), scales};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&swiglu_quant>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
