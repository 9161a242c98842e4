// The operators that plan how attention and indexer share out their work among the cores, from the
// lengths of the sequences. What they return is for the card's kernels alone: int32 [1024], here
// zeros. Source: cann-recipes-infer@fbc225d, torch_ops_extension/custom_ops/csrc/*_metadata.cpp.
#include <ATen/ops/zeros.h>

#include <initializer_list>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/extension/registration.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kPlan = 1024;

// --- work: an AICPU kernel that reads lengths and writes 4 KiB, timed as a vector kernel of these
// bytes: its launch. Nothing published says how long the AICPU takes.
model::Work work(const aten::Call& call) {
  const aten::Traffic traffic = aten::traffic_of(call);
  return model::VectorWork{.elements = kPlan,
                           .read = traffic.read,
                           .written = traffic.written,
                           .compute = model::Format::kInt32};
}
constexpr aten::Entry kEntries[] = {
    {"custom::npu_sparse_attn_sharedkv_metadata", work},
    {"custom::npu_kv_quant_sparse_attn_sharedkv_metadata", work},
    {"custom::npu_quant_lightning_indexer_metadata", work},
    {"cann_ops_transformer::quant_lightning_indexer_metadata", work},
    {"cann_ops_transformer::quant_sparse_flash_mla_metadata", work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Sizes {
  std::int64_t query_heads;
  std::int64_t key_heads;
  std::int64_t head_dim;
};

struct Lengths {
  const char* argument;
  const MaybeTensor& tensor;
};

at::Tensor plan(const char* op, const Sizes& sizes, std::initializer_list<Lengths> all) {
  TORCH_CHECK_VALUE(sizes.query_heads > 0 && sizes.key_heads == 1 && sizes.head_dim > 0, op,
                    ": expected query heads, one key head and a head_dim above 0, got ",
                    sizes.query_heads, ", ", sizes.key_heads, " and ", sizes.head_dim);
  at::TensorOptions options;
  for (const auto& [argument, tensor] : all) {
    if (!given(tensor)) continue;
    TORCH_CHECK_TYPE(tensor->scalar_type() == at::kInt, op, ": expected ", argument,
                     " of int32, got ", tensor->scalar_type());
    TORCH_CHECK_VALUE(tensor->dim() == 1, op, ": expected ", argument, " of one axis, got ",
                      tensor->sizes());
    options = tensor->options();
  }
  return at::zeros({kPlan}, options);
}

void check_mode(const char* op, const char* argument, std::int64_t mode,
                std::initializer_list<std::int64_t> known) {
  TORCH_CHECK_VALUE(std::find(known.begin(), known.end(), mode) != known.end(), op, ": expected ",
                    argument, " in ", at::IntArrayRef(known), ", got ", mode);
}

at::Tensor sparse_attn_sharedkv(std::int64_t num_heads_q, std::int64_t num_heads_kv,
                                std::int64_t head_dim, const MaybeTensor& cu_seqlens_q,
                                const MaybeTensor& cu_seqlens_ori_kv,
                                const MaybeTensor& cu_seqlens_cmp_kv, const MaybeTensor& seqused_q,
                                const MaybeTensor& seqused_kv, std::int64_t /*batch_size*/,
                                std::int64_t /*max_seqlen_q*/, std::int64_t /*max_seqlen_kv*/,
                                std::int64_t /*ori_topk*/, std::int64_t /*cmp_topk*/,
                                std::int64_t /*cmp_ratio*/, std::int64_t ori_mask_mode,
                                std::int64_t cmp_mask_mode, std::int64_t /*ori_win_left*/,
                                std::int64_t /*ori_win_right*/, c10::string_view /*layout_q*/,
                                c10::string_view /*layout_kv*/, bool /*has_ori_kv*/,
                                bool /*has_cmp_kv*/, c10::string_view /*device*/) {
  constexpr const char* kOp = "npu_sparse_attn_sharedkv_metadata";
  check_mode(kOp, "ori_mask_mode", ori_mask_mode, {4});
  check_mode(kOp, "cmp_mask_mode", cmp_mask_mode, {3});
  return plan(kOp, {num_heads_q, num_heads_kv, head_dim},
              {{"cu_seqlens_q", cu_seqlens_q},
               {"cu_seqlens_ori_kv", cu_seqlens_ori_kv},
               {"cu_seqlens_cmp_kv", cu_seqlens_cmp_kv},
               {"seqused_q", seqused_q},
               {"seqused_kv", seqused_kv}});
}

at::Tensor kv_quant_sparse_attn_sharedkv(
    std::int64_t num_heads_q, std::int64_t num_heads_kv, std::int64_t head_dim,
    std::int64_t kv_quant_mode, const MaybeTensor& cu_seqlens_q,
    const MaybeTensor& cu_seqlens_ori_kv, const MaybeTensor& cu_seqlens_cmp_kv,
    const MaybeTensor& seqused_q, const MaybeTensor& seqused_kv, std::int64_t /*batch_size*/,
    std::int64_t /*max_seqlen_q*/, std::int64_t /*max_seqlen_kv*/, std::int64_t /*ori_topk*/,
    std::int64_t /*cmp_topk*/, std::int64_t /*tile_size*/, std::int64_t /*rope_head_dim*/,
    std::int64_t /*cmp_ratio*/, std::int64_t ori_mask_mode, std::int64_t cmp_mask_mode,
    std::int64_t /*ori_win_left*/, std::int64_t /*ori_win_right*/, c10::string_view /*layout_q*/,
    c10::string_view /*layout_kv*/, bool /*has_ori_kv*/, bool /*has_cmp_kv*/,
    c10::string_view /*device*/) {
  constexpr const char* kOp = "npu_kv_quant_sparse_attn_sharedkv_metadata";
  check_mode(kOp, "kv_quant_mode", kv_quant_mode, {1});
  check_mode(kOp, "ori_mask_mode", ori_mask_mode, {4});
  check_mode(kOp, "cmp_mask_mode", cmp_mask_mode, {3});
  return plan(kOp, {num_heads_q, num_heads_kv, head_dim},
              {{"cu_seqlens_q", cu_seqlens_q},
               {"cu_seqlens_ori_kv", cu_seqlens_ori_kv},
               {"cu_seqlens_cmp_kv", cu_seqlens_cmp_kv},
               {"seqused_q", seqused_q},
               {"seqused_kv", seqused_kv}});
}

at::Tensor quant_lightning_indexer(
    std::int64_t num_heads_q, std::int64_t num_heads_k, std::int64_t head_dim,
    std::int64_t query_quant_mode, std::int64_t key_quant_mode,
    const MaybeTensor& actual_seq_lengths_query, const MaybeTensor& actual_seq_lengths_key,
    std::int64_t /*batch_size*/, std::int64_t /*max_seqlen_q*/, std::int64_t /*max_seqlen_k*/,
    c10::string_view /*layout_query*/, c10::string_view /*layout_key*/,
    std::int64_t /*sparse_count*/, std::int64_t sparse_mode, std::int64_t /*pre_tokens*/,
    std::int64_t /*next_tokens*/, std::int64_t /*cmp_ratio*/, c10::string_view /*device*/) {
  constexpr const char* kOp = "npu_quant_lightning_indexer_metadata";
  check_mode(kOp, "query_quant_mode", query_quant_mode, {0});
  check_mode(kOp, "key_quant_mode", key_quant_mode, {0});
  check_mode(kOp, "sparse_mode", sparse_mode, {0, 3});
  return plan(kOp, {num_heads_q, num_heads_k, head_dim},
              {{"actual_seq_lengths_query", actual_seq_lengths_query},
               {"actual_seq_lengths_key", actual_seq_lengths_key}});
}

at::Tensor compressed_lightning_indexer(
    std::int64_t num_heads_q, std::int64_t num_heads_k, std::int64_t head_dim,
    std::int64_t /*topk*/, std::int64_t quant_mode, const MaybeTensor& cu_seqlens_q,
    const MaybeTensor& cu_seqlens_k, const MaybeTensor& seqused_q, const MaybeTensor& seqused_k,
    const MaybeTensor& cmp_residual_k, std::optional<std::int64_t> /*batch_size*/,
    std::optional<std::int64_t> /*max_seqlen_q*/, std::optional<std::int64_t> /*max_seqlen_k*/,
    std::optional<c10::string_view> /*layout_q*/, std::optional<c10::string_view> /*layout_k*/,
    std::optional<std::int64_t> mask_mode, std::optional<std::int64_t> /*cmp_ratio*/) {
  constexpr const char* kOp = "quant_lightning_indexer_metadata";
  check_mode(kOp, "quant_mode", quant_mode, {1, 2, 4});
  check_mode(kOp, "mask_mode", mask_mode.value_or(0), {0, 3});
  return plan(kOp, {num_heads_q, num_heads_k, head_dim},
              {{"cu_seqlens_q", cu_seqlens_q},
               {"cu_seqlens_k", cu_seqlens_k},
               {"seqused_q", seqused_q},
               {"seqused_k", seqused_k},
               {"cmp_residual_k", cmp_residual_k}});
}

at::Tensor sparse_flash_mla(
    std::int64_t num_heads_q, std::int64_t num_heads_kv, std::int64_t head_dim,
    std::int64_t quant_mode, const MaybeTensor& cu_seqlens_q, const MaybeTensor& cu_seqlens_ori_kv,
    const MaybeTensor& cu_seqlens_cmp_kv, const MaybeTensor& seqused_q,
    const MaybeTensor& seqused_ori_kv, const MaybeTensor& seqused_cmp_kv,
    const MaybeTensor& cmp_residual_kv, const MaybeTensor& ori_topk_length,
    const MaybeTensor& cmp_topk_length, std::int64_t /*batch_size*/, std::int64_t /*max_seqlen_q*/,
    std::int64_t /*max_seqlen_ori_kv*/, std::int64_t /*max_seqlen_cmp_kv*/,
    std::int64_t /*ori_topk*/, std::int64_t /*cmp_topk*/, std::int64_t /*rope_head_dim*/,
    std::int64_t /*cmp_ratio*/, std::int64_t ori_mask_mode, std::int64_t cmp_mask_mode,
    std::int64_t /*ori_win_left*/, std::int64_t /*ori_win_right*/, c10::string_view /*layout_q*/,
    c10::string_view /*layout_kv*/, bool /*has_ori_kv*/, bool /*has_cmp_kv*/) {
  constexpr const char* kOp = "quant_sparse_flash_mla_metadata";
  check_mode(kOp, "quant_mode", quant_mode, {1});
  check_mode(kOp, "ori_mask_mode", ori_mask_mode, {0, 4});
  check_mode(kOp, "cmp_mask_mode", cmp_mask_mode, {0, 3});
  return plan(kOp, {num_heads_q, num_heads_kv, head_dim},
              {{"cu_seqlens_q", cu_seqlens_q},
               {"cu_seqlens_ori_kv", cu_seqlens_ori_kv},
               {"cu_seqlens_cmp_kv", cu_seqlens_cmp_kv},
               {"seqused_q", seqused_q},
               {"seqused_ori_kv", seqused_ori_kv},
               {"seqused_cmp_kv", seqused_cmp_kv},
               {"cmp_residual_kv", cmp_residual_kv},
               {"ori_topk_length", ori_topk_length},
               {"cmp_topk_length", cmp_topk_length}});
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&sparse_attn_sharedkv>(m, "npu_sparse_attn_sharedkv_metadata");
  composed_kernel<&kv_quant_sparse_attn_sharedkv>(m, "npu_kv_quant_sparse_attn_sharedkv_metadata");
  composed_kernel<&quant_lightning_indexer>(m, "npu_quant_lightning_indexer_metadata");
});
[[maybe_unused]] const bool kExtendsCann = extend("cann_ops_transformer", [](torch::Library& m) {
  composed_kernel<&compressed_lightning_indexer>(m, "quant_lightning_indexer_metadata");
  composed_kernel<&sparse_flash_mla>(m, "quant_sparse_flash_mla_metadata");
});

}  // namespace
}  // namespace npu_sim::ops
