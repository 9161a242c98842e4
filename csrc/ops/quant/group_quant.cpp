// npu_group_quant: rows quantised with the given scales of their group.
#include <ATen/TensorOperators.h>

#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/groups.h"
#include "ops/quant/quantized.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_group_quant";

// --- work: convert, scale, offset, round, two converts.
constexpr aten::Entry kEntries[] = {{"npu_group_quant", quantized_blocks<6>}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& group_index,
           const MaybeTensor& offset) {
  TORCH_CHECK_TYPE(x.is_floating_point() && x.scalar_type() != at::kDouble, kOp,
                   ": expected x of float32, float16 or bfloat16, got ", x.scalar_type());
  TORCH_CHECK_TYPE(scale.is_floating_point(), kOp, ": expected a floating scale, got ",
                   scale.scalar_type());
  const bool fits = x.dim() == 2 && scale.dim() == 2 && scale.size(1) == x.size(1) &&
                    group_index.dim() == 1 && group_index.size(0) == scale.size(0);
  TORCH_CHECK_VALUE(fits, kOp,
                    ": expected x of [rows, columns], scale of [groups, columns] and "
                    "group_index of [groups], got ",
                    x.sizes(), ", ", scale.sizes(), " and ", group_index.sizes());
  TORCH_CHECK_VALUE(!given(offset) || offset->numel() == 1, kOp,
                    ": expected offset of [1], got more");
  TORCH_CHECK_TYPE(!given(offset) || offset->scalar_type() == scale.scalar_type(), kOp,
                   ": expected offset of ", scale.scalar_type(), ", the dtype of scale");
}

// int8, or int4 packed by eight.
Target target_of(std::optional<at::ScalarType> dst_dtype) {
  const at::ScalarType dtype = dst_dtype.value_or(at::kQInt8);
  const bool int4 = dtype == at::kQUInt4x2;
  TORCH_CHECK_TYPE(int4 || dtype == at::kQInt8 || dtype == at::kChar, kOp,
                   ": expected dst_dtype torch.qint8, torch.int8 or torch.quint4x2, got ", dtype);
  return {.element = int4 ? compute::Element::kInt4 : compute::Element::kInt8};
}

// Rows of no group are 0.
at::Tensor group_quant(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& group_index,
                       const MaybeTensor& offset, std::optional<at::ScalarType> dst_dtype) {
  check(x, scale, group_index, offset);
  const Target target = target_of(dst_dtype);
  const RowGroups groups =
      row_groups({.op = kOp, .argument = "group_index"}, group_index, GroupList::kEnds, x.size(0));
  at::Tensor values = widened(x) * by_row(widened(scale), groups, x.size(0), 0);
  if (given(offset)) values = values + widened(*offset).reshape({1});
  if (!values.is_meta()) {
    values.narrow(0, groups.covered(), x.size(0) - groups.covered()).zero_();
  }
  return coded_to(kOp, values, target);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&group_quant>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
