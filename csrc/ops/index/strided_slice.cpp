// npu_indexing: a slice with a begin, an end and a stride an axis, and bit masks for the ends that
// are left open, one ellipsis, new axes and axes that vanish, as tf.strided_slice has them.
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>

#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/work_of.h"
#include "ops/host_kernel.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_indexing";

// --- work: what is kept is read and written.
model::Work slice_work(const aten::Call& call) {
  const at::Tensor& out = call.result();
  const at::Tensor& input = aten::tensor_at(call, 0);
  const auto element = static_cast<std::int64_t>(input.element_size());
  const base::Bytes bytes(out.numel() * element);
  return model::CopyWork{
      .read = bytes, .written = bytes, .run = base::Bytes(aten::size_along(out, -1) * element)};
}
constexpr aten::Entry kEntries[] = {{"npu_indexing", slice_work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
struct Slice {
  at::IntArrayRef begin;
  at::IntArrayRef end;
  at::IntArrayRef strides;
  std::int64_t begin_mask;
  std::int64_t end_mask;
  std::int64_t ellipsis_mask;
  std::int64_t new_axis_mask;
  std::int64_t shrink_axis_mask;
};

bool has(std::int64_t mask, std::size_t bit) { return ((mask >> bit) & 1) != 0; }

// Axes of the input that the ellipsis, or the end of a list without one, stands for.
std::int64_t covered_by_ellipsis(const at::Tensor& input, const Slice& slice) {
  std::int64_t named = 0;
  std::int64_t ellipses = 0;
  for (std::size_t i = 0; i < slice.strides.size(); ++i) {
    const bool ellipsis = has(slice.ellipsis_mask, i);
    ellipses += ellipsis ? 1 : 0;
    named += ellipsis || has(slice.new_axis_mask, i) ? 0 : 1;
  }
  TORCH_CHECK_VALUE(ellipses <= 1, kOp, ": expected at most one ellipsis, got ", ellipses);
  TORCH_CHECK_INDEX(named <= input.dim(), kOp, ": expected at most ", input.dim(),
                    " indices for input ", input.sizes(), ", got ", named);
  return input.dim() - named;
}

// Moves a place into [least, most], counted from the end where it is negative.
std::int64_t bounded(std::int64_t place, std::int64_t size, std::int64_t least, std::int64_t most) {
  return std::clamp(place < 0 ? place + size : place, least, most);
}

// The places of one axis that entry `i` keeps.
at::Tensor sliced(const at::Tensor& x, std::int64_t axis, const Slice& slice, std::size_t i) {
  const std::int64_t size = x.size(axis);
  const std::int64_t stride = slice.strides[i];
  TORCH_CHECK_VALUE(stride != 0, kOp, ": expected strides other than 0");
  const std::int64_t least = stride > 0 ? 0 : -1;
  const std::int64_t most = stride > 0 ? size : size - 1;
  const std::int64_t begin = has(slice.begin_mask, i) ? (stride > 0 ? 0 : size - 1)
                                                      : bounded(slice.begin[i], size, least, most);
  const std::int64_t end =
      has(slice.end_mask, i) ? (stride > 0 ? size : -1) : bounded(slice.end[i], size, least, most);
  if (stride > 0) return x.slice(axis, begin, std::max(begin, end), stride);
  const std::int64_t low = std::min(begin, end);
  return x.index_select(axis, at::arange(begin, low, stride, x.options().dtype(at::kLong)));
}

at::Tensor element(const at::Tensor& x, std::int64_t axis, const Slice& slice, std::size_t i) {
  const std::int64_t size = x.size(axis);
  const std::int64_t place = slice.begin[i];
  TORCH_CHECK_VALUE(slice.strides[i] > 0, kOp, ": expected a positive stride on an axis that ",
                    "vanishes, got ", slice.strides[i]);
  TORCH_CHECK_INDEX(place >= -size && place < size, kOp, ": expected begin in [", -size, ", ", size,
                    ") on an axis of ", size, ", got ", place);
  return x.select(axis, place);
}

at::Tensor kept(const at::Tensor& input, const Slice& slice) {
  TORCH_CHECK_VALUE(slice.begin.size() == slice.strides.size() &&
                        slice.end.size() == slice.strides.size() && slice.strides.size() < 32,
                    kOp, ": expected begin, end and strides of one length below 32, got ",
                    slice.begin.size(), ", ", slice.end.size(), " and ", slice.strides.size());
  const std::int64_t covered = covered_by_ellipsis(input, slice);
  at::Tensor x = input;
  std::int64_t axis = 0;
  for (std::size_t i = 0; i < slice.strides.size(); ++i) {
    if (has(slice.ellipsis_mask, i)) {
      axis += covered;
    } else if (has(slice.new_axis_mask, i)) {
      x = x.unsqueeze(axis++);
    } else if (has(slice.shrink_axis_mask, i)) {
      x = element(x, axis, slice, i);
    } else {
      x = sliced(x, axis++, slice, i);
    }
  }
  return x.clone(at::MemoryFormat::Contiguous);
}

at::Tensor indexing(const at::Tensor& input, at::IntArrayRef begin, at::IntArrayRef end,
                    at::IntArrayRef strides, std::int64_t begin_mask, std::int64_t end_mask,
                    std::int64_t ellipsis_mask, std::int64_t new_axis_mask,
                    std::int64_t shrink_axis_mask) {
  return kept(input, {.begin = begin,
                      .end = end,
                      .strides = strides,
                      .begin_mask = begin_mask,
                      .end_mask = end_mask,
                      .ellipsis_mask = ellipsis_mask,
                      .new_axis_mask = new_axis_mask,
                      .shrink_axis_mask = shrink_axis_mask});
}

at::Tensor& indexing_out(const at::Tensor& input, at::IntArrayRef begin, at::IntArrayRef end,
                         at::IntArrayRef strides, std::int64_t begin_mask, std::int64_t end_mask,
                         std::int64_t ellipsis_mask, std::int64_t new_axis_mask,
                         std::int64_t shrink_axis_mask, at::Tensor& out) {
  const at::Tensor y = indexing(input, begin, end, strides, begin_mask, end_mask, ellipsis_mask,
                                new_axis_mask, shrink_axis_mask);
  TORCH_CHECK_VALUE(out.sizes() == y.sizes(), kOp, ": expected out of ", y.sizes(), ", got ",
                    out.sizes());
  TORCH_CHECK_TYPE(out.scalar_type() == y.scalar_type(), kOp, ": expected out of ", y.scalar_type(),
                   ", got ", out.scalar_type());
  return out.copy_(y);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&indexing>(m, "npu_indexing");
  composed_kernel<&indexing_out>(m, "npu_indexing.out");
}

}  // namespace
}  // namespace npu_sim::ops
