// npu_sparse_attn_sharedkv and npu_kv_quant_sparse_attn_sharedkv: attention over a window and
// compressed keys, which are of query's dtype, or packed: [rope in bf16, E4M3 codes, an E8M0 scale
// for each tile of them], filled up to 128 bytes. Sources: cann-recipes-infer@fbc225d,
// ops/ascendc/docs and torch_ops_extension; vllm-ascend@182b75e,
// csrc/attention/{sparse_attn_sharedkv,kv_quant_sparse_attn_sharedkv} (README and op_kernel).
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include "aten/describe/registry.h"
#include "ops/extension/registration.h"
#include "ops/extension/shared_attention_form.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work
constexpr SharedSources kWide{.own = 1,
                              .indices = 4,
                              .own_table = 5,
                              .query_lengths = 7,
                              .key_lengths = 11,
                              .ratio = 15,
                              .before = 18,
                              .query_layout = 20};
constexpr SharedSources kPacked{.own = 2,
                                .indices = 5,
                                .own_table = 6,
                                .query_lengths = 8,
                                .key_lengths = 12,
                                .ratio = 18,
                                .before = 21,
                                .query_layout = 23};
template <const SharedSources& where>
model::Work work(const aten::Call& call) {
  return shared_work(call, where);
}
constexpr aten::Entry kEntries[] = {
    {"custom::npu_sparse_attn_sharedkv", work<kWide>},
    {"custom::npu_kv_quant_sparse_attn_sharedkv", work<kPacked>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- checks
void check_plan(const char* op, const MaybeTensor& metadata) {
  TORCH_CHECK_VALUE(given(metadata) && metadata->sizes() == at::IntArrayRef{1024} &&
                        metadata->scalar_type() == at::kInt,
                    op, ": expected metadata, int32 of [1024], from ", op, "_metadata, got ",
                    given(metadata) ? "another tensor" : "None");
}

void check_band(const char* op, std::int64_t own_mask, std::int64_t compressed_mask) {
  TORCH_CHECK_VALUE(own_mask == 4, op, ": expected ori_mask_mode 4 (a band), got ", own_mask);
  TORCH_CHECK_VALUE(compressed_mask == 3, op,
                    ": expected cmp_mask_mode 3 (right-down causal), got ", compressed_mask);
}

using Two = std::tuple<at::Tensor, at::Tensor>;

Two without_statistics(const at::Tensor& out) {
  return {out, at::empty({0}, out.options().dtype(at::kFloat))};
}

// --- op
Two sparse_attn_sharedkv(const at::Tensor& q, const MaybeTensor& ori_kv, const MaybeTensor& cmp_kv,
                         const MaybeTensor& ori_sparse_indices,
                         const MaybeTensor& cmp_sparse_indices, const MaybeTensor& ori_block_table,
                         const MaybeTensor& cmp_block_table, const MaybeTensor& cu_seqlens_q,
                         const MaybeTensor& cu_seqlens_ori_kv, const MaybeTensor& cu_seqlens_cmp_kv,
                         const MaybeTensor& seqused_q, const MaybeTensor& seqused_kv,
                         const MaybeTensor& sinks, const MaybeTensor& metadata,
                         double softmax_scale, std::int64_t cmp_ratio, std::int64_t ori_mask_mode,
                         std::int64_t cmp_mask_mode, std::int64_t ori_win_left,
                         std::int64_t ori_win_right, c10::string_view layout_q,
                         c10::string_view layout_kv, bool return_softmax_lse) {
  const SharedArguments on{"npu_sparse_attn_sharedkv",
                           q,
                           ori_kv,
                           cmp_kv,
                           cmp_sparse_indices,
                           ori_block_table,
                           cmp_block_table,
                           sinks,
                           layout_q,
                           cmp_ratio,
                           {.before = ori_win_left, .after = ori_win_right}};
  TORCH_CHECK_TYPE(q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf, on.op,
                   ": expected q of bfloat16 or float16, got ", q.scalar_type());
  check_shared(on, q.scalar_type(), q.size(-1));
  check_layout_of_keys(on.op, layout_kv, "PA_ND");
  check_band(on.op, ori_mask_mode, cmp_mask_mode);
  check_plan(on.op, metadata);
  check_no_statistics(on.op, return_softmax_lse);
  refuse_reserved(on.op, {{"ori_sparse_indices", ori_sparse_indices},
                          {"cu_seqlens_ori_kv", cu_seqlens_ori_kv},
                          {"cu_seqlens_cmp_kv", cu_seqlens_cmp_kv},
                          {"seqused_q", seqused_q}});
  if (q.is_meta()) return without_statistics(at::empty(q.sizes(), q.options()));
  const std::vector<Sequence> queries =
      sequences_from_zero({on.op, "cu_seqlens_q"}, q, layout_q, cu_seqlens_q);
  const Integers tokens = lengths_in({on.op, "seqused_kv"}, seqused_kv, queries.size());
  const at::Tensor out =
      shared_attention(on, queries, tokens, softmax_scale, {widened(q), widened, widened});
  return without_statistics(out.to(q.scalar_type()));
}

// How a packed key is cut up.
struct Packing {
  std::int64_t rope = 0;
  std::int64_t latent = 0;
  std::int64_t tile = 0;

  [[nodiscard]] std::int64_t rope_bytes() const { return 2 * rope; }
  [[nodiscard]] std::int64_t tiles() const { return latent / tile; }
  [[nodiscard]] std::int64_t bytes() const {
    constexpr std::int64_t kLine = 128;
    return (rope_bytes() + latent + tiles() + kLine - 1) / kLine * kLine;
  }
};

at::Tensor unpacked(const at::Tensor& rows, const Packing& packing) {
  const at::Tensor rope = rows.narrow(-1, 0, packing.rope_bytes()).contiguous();
  const at::Tensor codes = rows.narrow(-1, packing.rope_bytes(), packing.latent).contiguous();
  const at::Tensor scales = rows.narrow(-1, packing.rope_bytes() + packing.latent, packing.tiles());
  const at::Tensor latent =
      decoded(codes, compute::Element::kE4m3).unflatten(-1, {packing.tiles(), packing.tile}) *
      decoded_e8m0(scales).unsqueeze(-1);
  return at::cat({latent.flatten(-2), widened(rope.view(at::kBFloat16))}, -1);
}

Two kv_quant_sparse_attn_sharedkv(
    const at::Tensor& q, std::int64_t kv_quant_mode, const MaybeTensor& ori_kv,
    const MaybeTensor& cmp_kv, const MaybeTensor& ori_sparse_indices,
    const MaybeTensor& cmp_sparse_indices, const MaybeTensor& ori_block_table,
    const MaybeTensor& cmp_block_table, const MaybeTensor& cu_seqlens_q,
    const MaybeTensor& cu_seqlens_ori_kv, const MaybeTensor& cu_seqlens_cmp_kv,
    const MaybeTensor& seqused_q, const MaybeTensor& seqused_kv, const MaybeTensor& sinks,
    const MaybeTensor& metadata, std::int64_t tile_size, std::int64_t rope_head_dim,
    double softmax_scale, std::int64_t cmp_ratio, std::int64_t ori_mask_mode,
    std::int64_t cmp_mask_mode, std::int64_t ori_win_left, std::int64_t ori_win_right,
    c10::string_view layout_q, c10::string_view layout_kv, bool return_softmax_lse) {
  const SharedArguments on{"npu_kv_quant_sparse_attn_sharedkv",
                           q,
                           ori_kv,
                           cmp_kv,
                           cmp_sparse_indices,
                           ori_block_table,
                           cmp_block_table,
                           sinks,
                           layout_q,
                           cmp_ratio,
                           {.before = ori_win_left, .after = ori_win_right}};
  TORCH_CHECK_TYPE(q.scalar_type() == at::kBFloat16, on.op, ": expected q of bfloat16, got ",
                   q.scalar_type());
  TORCH_CHECK_VALUE(kv_quant_mode == 1, on.op, ": expected kv_quant_mode 1 (a scale a tile), got ",
                    kv_quant_mode);
  const Packing packing{
      .rope = rope_head_dim, .latent = q.size(-1) - rope_head_dim, .tile = tile_size};
  TORCH_CHECK_VALUE(
      rope_head_dim > 0 && packing.latent > 0 && tile_size > 0 && packing.latent % tile_size == 0,
      on.op, ": expected rope_head_dim below q's width ", q.size(-1),
      " and tile_size that divides the rest, got ", rope_head_dim, " and ", tile_size);
  check_shared(on, at::kFloat8_e4m3fn, packing.bytes());
  check_layout_of_keys(on.op, layout_kv, "PA_ND");
  check_band(on.op, ori_mask_mode, cmp_mask_mode);
  check_plan(on.op, metadata);
  check_no_statistics(on.op, return_softmax_lse);
  refuse_reserved(on.op, {{"ori_sparse_indices", ori_sparse_indices},
                          {"cu_seqlens_ori_kv", cu_seqlens_ori_kv},
                          {"cu_seqlens_cmp_kv", cu_seqlens_cmp_kv},
                          {"seqused_q", seqused_q}});
  if (q.is_meta()) return without_statistics(at::empty(q.sizes(), q.options()));
  const std::vector<Sequence> queries =
      sequences_from_zero({on.op, "cu_seqlens_q"}, q, layout_q, cu_seqlens_q);
  const Integers tokens = lengths_in({on.op, "seqused_kv"}, seqused_kv, queries.size());
  const DecodeKeys decode = [&packing](const at::Tensor& rows) {
    return unpacked(rows.view(at::kByte), packing);
  };
  const at::Tensor out =
      shared_attention(on, queries, tokens, softmax_scale, {widened(q), decode, decode});
  return without_statistics(out.to(q.scalar_type()));
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&sparse_attn_sharedkv>(m, "npu_sparse_attn_sharedkv");
  composed_kernel<&kv_quant_sparse_attn_sharedkv>(m, "npu_kv_quant_sparse_attn_sharedkv");
});

}  // namespace
}  // namespace npu_sim::ops
