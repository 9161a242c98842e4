// Copies: values move, nothing is computed.
#include <algorithm>
#include <vector>

#include "aten/describe/layout.h"
#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using base::Bytes;
using model::CopyWork;
using model::Work;

// clone(self), contiguous, _to_copy(self): the result is filled from argument 0.
Work copy_to_result(const Call& call) { return work_of::copy(output_of(call), tensor_at(call, 0)); }

// copy_(self, src)
Work copy_into_self(const Call& call) {
  return work_of::copy(tensor_at(call, 0), tensor_at(call, 1));
}

Bytes row_bytes(const at::Tensor& tensor) {
  return Bytes(size_along(tensor, -1) * static_cast<std::int64_t>(tensor.element_size()));
}

// flip, roll, repeat, pads and their gradients: rows of the last axis move whole.
Work copy_rows(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const Traffic traffic = traffic_of(call);
  return CopyWork{.read = traffic.read,
                  .written = traffic.written,
                  .run = std::min(row_bytes(input), row_bytes(output_of(call)))};
}

// pixel_shuffle, im2col, repeat_interleave of the last axis: single elements move.
Work copy_single_elements(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return CopyWork{.read = traffic.read,
                  .written = traffic.written,
                  .run = Bytes(static_cast<std::int64_t>(output_of(call).element_size()))};
}

// channel_shuffle: a channel's plane moves whole.
Work copy_planes(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const Traffic traffic = traffic_of(call);
  const auto item = static_cast<std::int64_t>(input.element_size());
  return CopyWork{
      .read = traffic.read, .written = traffic.written, .run = Bytes(slice_after(input, 1) * item)};
}

// repeat_interleave(self, repeats, dim): slices behind `dim` are repeated; without a dim, elements.
Work repeat_interleave(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const Traffic traffic = traffic_of(call);
  const std::int64_t slice = slice_after(input, integer_at(call, 2, -1));
  const auto item = static_cast<std::int64_t>(input.element_size());
  return CopyWork{.read = traffic.read, .written = traffic.written, .run = Bytes(slice * item)};
}

// cat(tensors, dim), stack(tensors, dim). A part of another dtype is converted on the way.
Work concatenate(const Call& call) {
  const at::Tensor& out = output_of(call);
  std::vector<at::Tensor> parts;
  if (!call.arguments.empty() && call.arguments[0].isList()) {
    for (const c10::IValue& item : call.arguments[0].toListRef()) {
      if (item.isTensor()) parts.push_back(item.toTensor());
    }
  }
  return work_of::concatenate(out, parts, integer_at(call, 1, 0));
}

// A part of a tensor taken or put back: only the piece moves. select_scatter and its like first
// copy the tensor whole.
Work copy_piece(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return CopyWork{.read = traffic.written,
                  .written = traffic.written,
                  .run = std::min(contiguous_run(output_of(call)), row_bytes(output_of(call)))};
}

// A view operator's _copy variant, and operators that return lists of pieces.
Work copy_by_bytes(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return CopyWork{.read = traffic.read,
                  .written = traffic.written == Bytes(0) ? traffic.read : traffic.written,
                  .run = row_bytes(tensor_at(call, 0))};
}

// resolve_conj, resolve_neg: a view is returned as it is, or a copy is made.
Work copy_if_made(const Call& call) {
  const at::Tensor& out = output_of(call);
  if (out.is_alias_of(tensor_at(call, 0))) return model::NoWork{};
  return work_of::pointwise(out, {&tensor_at(call, 0)}, 1, 0);
}

// _local_scalar_dense: one number to the host.
Work number_to_host(const Call& call) {
  const Bytes item(static_cast<std::int64_t>(tensor_at(call, 0).element_size()));
  return CopyWork{
      .route = model::CopyRoute::kDeviceToHost, .read = item, .written = item, .run = item};
}

constexpr Entry kEntries[] = {
    {"copy_", copy_into_self},
    {"copy", copy_into_self},
    {"_copy_from", copy_to_result},
    {"clone", copy_to_result},
    {"contiguous", copy_to_result},
    {"_to_copy", copy_to_result},
    {"to", copy_if_made},
    {"type_as", copy_if_made},
    {"reshape", copy_if_made},
    {"flatten", copy_if_made},
    {"_local_scalar_dense", number_to_host},
    {"resolve_conj", copy_if_made},
    {"resolve_neg", copy_if_made},
    {"cat", concatenate},
    {"_cat", concatenate},
    {"stack", concatenate},
    {"_stack", concatenate},
    {"_chunk_cat", copy_by_bytes},
    {"block_diag", copy_by_bytes},
    {"flip", copy_rows},
    {"roll", copy_rows},
    {"rot90", copy_single_elements},
    {"repeat", copy_rows},
    {"repeat_interleave", repeat_interleave},
    {"repeat_interleave.Tensor", elements<4>},
    {"tril", elements<2>},
    {"triu", elements<2>},
    {"one_hot", elements<2>},
    {"constant_pad_nd", copy_rows},
    {"reflection_pad1d", copy_rows},
    {"reflection_pad1d_backward", copy_rows},
    {"reflection_pad2d", copy_rows},
    {"reflection_pad2d_backward", copy_rows},
    {"reflection_pad3d", copy_rows},
    {"reflection_pad3d_backward", copy_rows},
    {"replication_pad1d", copy_rows},
    {"replication_pad1d_backward", copy_rows},
    {"replication_pad2d", copy_rows},
    {"replication_pad2d_backward", copy_rows},
    {"replication_pad3d", copy_rows},
    {"replication_pad3d_backward", copy_rows},
    {"narrow_copy", copy_piece},
    {"select_backward", copy_rows},
    {"slice_backward", copy_rows},
    {"diagonal_backward", copy_single_elements},
    {"unfold_backward", copy_rows},
    {"select_scatter", copy_rows},
    {"slice_scatter", copy_rows},
    {"diagonal_scatter", copy_single_elements},
    {"as_strided_scatter", copy_rows},
    {"diag_embed", copy_single_elements},
    {"im2col", copy_single_elements},
    {"col2im", copy_single_elements},
    {"pixel_shuffle", copy_single_elements},
    {"pixel_unshuffle", copy_single_elements},
    {"channel_shuffle", copy_planes},
    {"native_channel_shuffle", copy_planes},
    {"split_copy", copy_by_bytes},
    {"split_with_sizes_copy", copy_by_bytes},
    {"unbind_copy", copy_by_bytes},
    {"_pack_padded_sequence", copy_by_bytes},
    {"_pad_packed_sequence", copy_by_bytes},
};

}  // namespace

Entries copy_entries() { return kEntries; }

}  // namespace npu_sim::aten
