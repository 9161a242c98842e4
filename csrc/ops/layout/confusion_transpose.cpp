// npu_confusion_transpose: a permutation and a change of shape in one copy, in either order; and
// npu_reshape, a copy in another shape.
#include <ATen/core/Tensor.h>

#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/work_of.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"

namespace npu_sim::ops {
namespace {

// --- work: a copy. Rows become columns only where the last axis moves; the copy then goes through
// tiles of the chip, 128 elements a run, as aten's transposing copies do.
model::Work copied(const aten::Call& call, const at::Tensor& source) {
  const at::Tensor& out = aten::output_of(call);
  constexpr std::int64_t kTileEdge = 128;
  const bool moves_last = call.arguments[1].isIntList() &&
                          !call.arguments[1].toIntVector().empty() &&
                          call.arguments[1].toIntVector().back() + 1 !=
                              static_cast<std::int64_t>(call.arguments[1].toIntVector().size());
  const auto element = static_cast<std::int64_t>(source.element_size());
  const base::Bytes run = moves_last ? base::Bytes(kTileEdge * element)
                                     : base::Bytes(aten::size_along(source, -1) * element);
  return model::CopyWork{.read = aten::bytes_of(source),
                         .written = aten::bytes_of(out),
                         .run = run,
                         .transposed = moves_last ? base::Bytes(element) : base::Bytes{}};
}
model::Work transposed(const aten::Call& call) { return copied(call, aten::tensor_at(call, 0)); }
model::Work reshaped(const aten::Call& call) {
  const base::Bytes bytes = aten::bytes_of(aten::output_of(call));
  return model::CopyWork{.read = bytes, .written = bytes, .run = bytes};
}
constexpr aten::Entry kEntries[] = {
    {"npu_confusion_transpose", transposed},
    {"npu_confusion_transpose_backward", transposed},
    {"npu_reshape", reshaped},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using Sizes = std::vector<std::int64_t>;

void check_permutation(const char* op, at::IntArrayRef perm, std::size_t axes) {
  Sizes sorted = perm.vec();
  std::ranges::sort(sorted);
  bool whole = sorted.size() == axes;
  for (std::size_t i = 0; whole && i < sorted.size(); ++i) {
    whole = sorted[i] == static_cast<std::int64_t>(i);
  }
  TORCH_CHECK_VALUE(whole, op, ": expected perm to be a permutation of ", axes, " axes, got ",
                    perm);
}

void check_shape(const char* op, at::IntArrayRef shape, const at::Tensor& tensor) {
  bool whole = true;
  for (const std::int64_t size : shape) whole = whole && size >= 0;
  TORCH_CHECK_VALUE(whole && c10::multiply_integers(shape) == tensor.numel(), op,
                    ": expected a shape of ", tensor.numel(), " elements, got ", shape);
}

// --- compute
at::Tensor confusion_transpose(const at::Tensor& input, at::IntArrayRef perm, at::IntArrayRef shape,
                               bool transpose_first) {
  constexpr const char* kOp = "npu_confusion_transpose";
  check_shape(kOp, shape, input);
  check_permutation(kOp, perm, transpose_first ? input.sizes().size() : shape.size());
  const at::Tensor view =
      transpose_first ? input.permute(perm).reshape(shape) : input.reshape(shape).permute(perm);
  return view.clone(at::MemoryFormat::Contiguous);
}

// `shape` is the forward input's; `transpose_first` the opposite of the forward call's.
at::Tensor confusion_transpose_backward(const at::Tensor& grad, at::IntArrayRef perm,
                                        c10::SymIntArrayRef shape_symint, bool transpose_first) {
  constexpr const char* kOp = "npu_confusion_transpose_backward";
  const auto shape = C10_AS_INTARRAYREF_SLOW(shape_symint);
  check_shape(kOp, shape, grad);
  check_permutation(kOp, perm, transpose_first ? grad.sizes().size() : shape.size());
  Sizes inverse(perm.size());
  Sizes permuted;
  for (std::size_t i = 0; i < perm.size(); ++i) {
    inverse[static_cast<std::size_t>(perm[i])] = static_cast<std::int64_t>(i);
    if (!transpose_first) permuted.push_back(shape[static_cast<std::size_t>(perm[i])]);
  }
  const at::Tensor view = transpose_first ? grad.permute(inverse).reshape(shape)
                                          : grad.reshape(permuted).permute(inverse);
  return view.clone(at::MemoryFormat::Contiguous);
}

at::Tensor reshape(const at::Tensor& input, at::IntArrayRef shape, bool /*can_refresh*/) {
  check_shape("npu_reshape", shape, input);
  return input.reshape(shape).clone(at::MemoryFormat::Contiguous);
}

at::Tensor& reshape_out(const at::Tensor& input, at::IntArrayRef shape, bool /*can_refresh*/,
                        at::Tensor& out) {
  check_shape("npu_reshape", shape, input);
  TORCH_CHECK_VALUE(out.sizes() == shape, "npu_reshape: expected out of ", shape, ", got ",
                    out.sizes());
  TORCH_CHECK_TYPE(out.scalar_type() == input.scalar_type(), "npu_reshape: expected out of ",
                   input.scalar_type(), ", got ", out.scalar_type());
  return out.copy_(input.reshape(shape));
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&confusion_transpose>(m, "npu_confusion_transpose");
  composed_kernel<&confusion_transpose_backward>(m, "npu_confusion_transpose_backward");
  derivative(m, "npu_confusion_transpose",
             "input: npu_confusion_transpose_backward(grad, perm, input.sizes, !transpose_first)");
  composed_kernel<&reshape>(m, "npu_reshape");
  composed_kernel<&reshape_out>(m, "npu_reshape.out");
}

}  // namespace
}  // namespace npu_sim::ops
