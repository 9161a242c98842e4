#include "aten/describe/layout.h"

#include <c10/util/SmallVector.h>

#include <algorithm>

namespace npu_sim::aten {
namespace {

using base::Bytes;
using Axes = c10::SmallVector<std::size_t, 8>;

bool is_plain(const at::Tensor& tensor) {
  return tensor.layout() == c10::kStrided && !tensor.is_nested();
}

std::int64_t item_bytes(const at::Tensor& tensor) {
  return static_cast<std::int64_t>(tensor.element_size());
}

// Axes with more than one element and a stride, the fastest one first.
Axes axes_by_stride(const at::Tensor& tensor) {
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  Axes axes;
  for (std::size_t axis = sizes.size(); axis-- > 0;) {
    if (sizes[axis] <= 1 || strides[axis] == 0) continue;
    const auto slower = std::find_if(axes.begin(), axes.end(), [&](std::size_t other) {
      return strides[other] > strides[axis];
    });
    axes.insert(slower, axis);
  }
  return axes;
}

Bytes run_along(const at::Tensor& tensor, const Axes& axes) {
  std::int64_t run = 1;
  for (const std::size_t axis : axes) {
    if (tensor.strides()[axis] != run) break;
    run *= tensor.sizes()[axis];
  }
  return Bytes(run * item_bytes(tensor));
}

// Elements along one edge of the on-chip tile that turns rows into columns: two such tiles of
// fp32 (64 KiB each) and their transposes fill the 256 KiB unified buffer.
constexpr std::int64_t kTransposeTileEdge = 128;

bool same_fastest_axis(const Axes& ours, const Axes& theirs) {
  return ours.empty() || theirs.empty() || ours.front() == theirs.front();
}

}  // namespace

Bytes contiguous_run(const at::Tensor& tensor) {
  if (!is_plain(tensor) || tensor.is_contiguous()) {
    return Bytes(tensor.numel() * item_bytes(tensor));
  }
  return run_along(tensor, axes_by_stride(tensor));
}

Bytes copy_run(const at::Tensor& dst, const at::Tensor& src) {
  const bool plain = is_plain(dst) && is_plain(src) && dst.dim() == src.dim();
  if (!plain || (dst.is_contiguous() && src.is_contiguous())) {
    return std::min(contiguous_run(dst), contiguous_run(src));
  }
  const Axes ours = axes_by_stride(dst);
  const Axes theirs = axes_by_stride(src);
  if (!same_fastest_axis(ours, theirs)) {
    const Bytes run = std::min(run_along(dst, ours), run_along(src, theirs));
    return std::min(run, Bytes(kTransposeTileEdge * item_bytes(src)));
  }
  // Axes that follow one another in both orders move together.
  std::size_t shared = 0;
  while (shared < std::min(ours.size(), theirs.size()) && ours[shared] == theirs[shared]) ++shared;
  const Axes common(ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(shared));
  return std::min(run_along(dst, common), run_along(src, common));
}

Bytes transposed_element(const at::Tensor& dst, const at::Tensor& src) {
  const bool plain = is_plain(dst) && is_plain(src) && dst.dim() == src.dim();
  if (!plain || same_fastest_axis(axes_by_stride(dst), axes_by_stride(src))) return Bytes(0);
  return Bytes(item_bytes(src));
}

}  // namespace npu_sim::aten
