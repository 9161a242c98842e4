// npu_quant_sparse_flash_mla of custom_ops and quant_sparse_flash_mla of cann_ops_transformer:
// attention over a window and compressed keys, all HiFloat8 with one scale a tensor.
// Sources: cann-recipes-infer@fbc225d, torch_ops_extension and models/deepseek_v4. The second
// operator's schema is not public: names as its client passes them, order as of the first.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/registry.h"
#include "ops/extension/registration.h"
#include "ops/extension/shared_attention_form.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"

namespace npu_sim::ops {
namespace {

// --- work
constexpr SharedSources kSources{.own = 1,
                                 .indices = 7,
                                 .own_table = 8,
                                 .query_lengths = 10,
                                 .key_lengths = 14,
                                 .ratio = 23,
                                 .before = 26,
                                 .query_layout = 28};
model::Work work(const aten::Call& call) { return shared_work(call, kSources); }
constexpr aten::Entry kEntries[] = {
    {"custom::npu_quant_sparse_flash_mla", work},
    {"cann_ops_transformer::quant_sparse_flash_mla", work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
// A factor for all elements, 1 where not given.
double factor(ArgumentName name, const MaybeTensor& descale) {
  if (!given(descale) || descale->is_meta()) return 1;
  TORCH_CHECK_VALUE(descale->numel() == 1, name.op, ": expected ", name.argument, " of [1], got ",
                    descale->sizes());
  return descale->item<double>();
}

DecodeKeys hifloat8_times(double scale) {
  return [scale](const at::Tensor& codes) {
    return decoded(codes.contiguous(), compute::Element::kHifloat8) * scale;
  };
}

struct Masks {
  std::int64_t own;
  std::int64_t compressed;
};

void check_masks(const char* op, const Masks& masks) {
  TORCH_CHECK_VALUE(masks.own == 0 || masks.own == 4, op,
                    ": expected ori_mask_mode 0 (all keys) or 4 (a band), got ", masks.own);
  TORCH_CHECK_VALUE(masks.compressed == 0 || masks.compressed == 3, op,
                    ": expected cmp_mask_mode 0 (all keys) or 3 (right-down causal), got ",
                    masks.compressed);
}

using Two = std::tuple<at::Tensor, at::Tensor>;

template <const char* const& op>
Two quant_sparse_flash_mla(const at::Tensor& q, const MaybeTensor& ori_kv,
                           const MaybeTensor& cmp_kv, const MaybeTensor& q_descale,
                           const MaybeTensor& ori_kv_descale, const MaybeTensor& cmp_kv_descale,
                           const MaybeTensor& ori_sparse_indices,
                           const MaybeTensor& cmp_sparse_indices,
                           const MaybeTensor& ori_block_table, const MaybeTensor& cmp_block_table,
                           const MaybeTensor& cu_seqlens_q, const MaybeTensor& cu_seqlens_ori_kv,
                           const MaybeTensor& cu_seqlens_cmp_kv, const MaybeTensor& seqused_q,
                           const MaybeTensor& seqused_ori_kv, const MaybeTensor& seqused_cmp_kv,
                           const MaybeTensor& cmp_residual_kv, const MaybeTensor& ori_topk_length,
                           const MaybeTensor& cmp_topk_length, const MaybeTensor& sinks,
                           const MaybeTensor& /*metadata: a plan*/, std::int64_t quant_mode,
                           double softmax_scale, std::int64_t cmp_ratio, std::int64_t ori_mask_mode,
                           std::int64_t cmp_mask_mode, std::int64_t ori_win_left,
                           std::int64_t ori_win_right, c10::string_view layout_q,
                           c10::string_view layout_kv, std::int64_t topk_value_mode,
                           bool return_softmax_lse) {
  const bool bands = ori_mask_mode == 4;
  const SharedArguments on{
      op,
      q,
      ori_kv,
      cmp_kv,
      cmp_sparse_indices,
      ori_block_table,
      cmp_block_table,
      sinks,
      layout_q,
      cmp_ratio,
      {.before = bands ? ori_win_left : -1, .after = bands ? ori_win_right : -1},
      cmp_mask_mode == 3};
  TORCH_CHECK_TYPE(q.scalar_type() == at::kByte, op, ": expected q of uint8 that holds hifloat8, ",
                   "got ", q.scalar_type());
  TORCH_CHECK_VALUE(quant_mode == 1, op, ": expected a quant_mode of 1 (HiFloat8), got ",
                    quant_mode);
  TORCH_CHECK_VALUE(topk_value_mode == 1, op, ": expected topk_value_mode 1, got ",
                    topk_value_mode);
  check_shared(on, at::kByte, q.size(-1));
  check_layout_of_keys(op, layout_kv, "PA_BBND");
  check_masks(op, {ori_mask_mode, cmp_mask_mode});
  check_no_statistics(op, return_softmax_lse);
  refuse_reserved(op, {{"ori_sparse_indices", ori_sparse_indices},
                       {"cu_seqlens_ori_kv", cu_seqlens_ori_kv},
                       {"cu_seqlens_cmp_kv", cu_seqlens_cmp_kv},
                       {"seqused_q", seqused_q},
                       {"ori_topk_length", ori_topk_length},
                       {"cmp_topk_length", cmp_topk_length}});
  const auto results = q.options().dtype(at::kBFloat16);
  const at::Tensor no_statistics = at::zeros({}, q.options().dtype(at::kFloat));
  if (q.is_meta()) return {at::empty(q.sizes(), results), no_statistics};
  const std::vector<Sequence> queries =
      sequences_from_zero({op, "cu_seqlens_q"}, q, layout_q, cu_seqlens_q);
  const Integers tokens = lengths_in({op, "seqused_ori_kv"}, seqused_ori_kv, queries.size());
  if (given(cmp_kv) && given(seqused_cmp_kv)) {
    const Integers keys = lengths_in({op, "seqused_cmp_kv"}, seqused_cmp_kv, queries.size());
    TORCH_CHECK_VALUE(
        uncompressed({op, "cmp_residual_kv"}, keys, cmp_ratio, cmp_residual_kv) == tokens, op,
        ": expected seqused_cmp_kv times cmp_ratio plus cmp_residual_kv to be seqused_ori_kv");
  }
  const at::Tensor query =
      decoded(q.contiguous(), compute::Element::kHifloat8) * factor({op, "q_descale"}, q_descale);
  const at::Tensor out =
      shared_attention(on, queries, tokens, softmax_scale,
                       {query, hifloat8_times(factor({op, "ori_kv_descale"}, ori_kv_descale)),
                        hifloat8_times(factor({op, "cmp_kv_descale"}, cmp_kv_descale))});
  return {out.to(at::kBFloat16), no_statistics};
}

constexpr const char* kCustomMla = "npu_quant_sparse_flash_mla";
constexpr const char* kCannMla = "quant_sparse_flash_mla";

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&quant_sparse_flash_mla<kCustomMla>>(m, "npu_quant_sparse_flash_mla");
});
[[maybe_unused]] const bool kExtendsCann = extend("cann_ops_transformer", [](torch::Library& m) {
  composed_kernel<&quant_sparse_flash_mla<kCannMla>>(m, "quant_sparse_flash_mla");
});

}  // namespace
}  // namespace npu_sim::ops
