// softmax(q k^T) v in one kernel, forward and backward.
#include "aten/describe/entry.h"
#include "aten/describe/operands.h"

namespace npu_sim::aten {
namespace {

using model::AttentionWork;
using model::MatmulWork;
using model::Work;

// Where an operator's schema keeps query (key and value follow it), the mask and the causal flag.
struct Places {
  std::size_t query = 0;
  std::size_t mask = 0;
  std::size_t causal = 0;
  bool backward = false;
};

// query [batch, heads, q_len, qk_dim], key and value [batch, kv_heads, kv_len, dim]; leading axes
// may be missing or more than one.
Work attention(const Call& call, const Places& places) {
  const at::Tensor& query = tensor_at(call, places.query);
  const at::Tensor& key = tensor_at(call, places.query + 1);
  const at::Tensor& value = tensor_at(call, places.query + 2);
  const std::int64_t q_heads = size_along(query, -3);
  const std::int64_t head_elements = size_along(query, -2) * size_along(query, -1);
  return AttentionWork{.batch = ratio(query.numel(), q_heads * head_elements),
                       .q_heads = q_heads,
                       .kv_heads = size_along(key, -3),
                       .q_len = size_along(query, -2),
                       .kv_len = size_along(key, -2),
                       .qk_dim = size_along(query, -1),
                       .v_dim = size_along(value, -1),
                       .format = format_of(query),
                       .causal = boolean_at(call, places.causal, false),
                       .backward = places.backward,
                       .mask = bytes_of(tensor_at(call, places.mask))};
}

// (query, key, value, dropout_p, is_causal, *, attn_mask, scale)
Work flash(const Call& call) { return attention(call, {.mask = 5, .causal = 4}); }

// (grad_out, query, key, value, out, logsumexp, dropout_p, is_causal, *, attn_mask, scale)
Work flash_backward(const Call& call) {
  return attention(call, {.query = 1, .mask = 8, .causal = 7, .backward = true});
}

// (query, key, value, attn_bias, dropout_p, is_causal, ...)
Work fused(const Call& call) { return attention(call, {.mask = 3, .causal = 5}); }

// (grad_out, query, key, value, attn_bias, grad_input_mask, out, logsumexp, cum_seq_q, cum_seq_k,
//  max_q, max_k, dropout_p, is_causal, ...)
Work fused_backward(const Call& call) {
  return attention(call, {.query = 1, .mask = 4, .causal = 13, .backward = true});
}

// _native_multi_head_attention(query [batch, len, width], key, value, embed_dim, num_head,
// qkv_weight, qkv_bias, proj_weight, proj_bias, mask ...): projection, attention, projection.
Work multi_head_projection_in(const Call& call) {
  const at::Tensor& query = tensor_at(call, 0);
  const std::int64_t width = size_along(query, -1);
  return MatmulWork{.m = ratio(query.numel(), width),
                    .n = 3 * width,
                    .k = width,
                    .a = format_of(query),
                    .b = format_of(query),
                    .out = format_of(query),
                    .b_transposed = true,
                    .adds_input = true};
}

Work multi_head_attention(const Call& call) {
  const at::Tensor& query = tensor_at(call, 0);
  const std::int64_t heads = integer_at(call, 4, 1);
  const std::int64_t head_dim = ratio(size_along(query, -1), heads);
  return AttentionWork{.batch = size_along(query, 0),
                       .q_heads = heads,
                       .kv_heads = heads,
                       .q_len = size_along(query, 1),
                       .kv_len = size_along(tensor_at(call, 1), 1),
                       .qk_dim = head_dim,
                       .v_dim = head_dim,
                       .format = format_of(query),
                       .mask = bytes_of(tensor_at(call, 9))};
}

Work multi_head_projection_out(const Call& call) {
  Work work = multi_head_projection_in(call);
  std::get<MatmulWork>(work).n = std::get<MatmulWork>(work).k;
  return work;
}

// _transform_bias_rescale_qkv: adds the bias, scales q, and splits heads: a copy with two
// instructions an element.
Work split_heads(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return model::VectorWork{.elements = traffic.elements,
                           .read = traffic.read,
                           .written = traffic.written,
                           .compute = traffic.compute,
                           .linear_ops = 2};
}

// The choice between attention kernels is made on the host.
Work choice(const Call&) { return model::NoWork{}; }

constexpr Describer kMultiHeadRest[] = {multi_head_attention, multi_head_projection_out};

constexpr Entry kEntries[] = {
    {"_scaled_dot_product_flash_attention_for_cpu", flash},
    {"_scaled_dot_product_flash_attention_for_cpu_backward", flash_backward},
    {"_scaled_dot_product_fused_attention_overrideable", fused},
    {"_scaled_dot_product_fused_attention_overrideable_backward", fused_backward},
    {"scaled_dot_product_attention", fused},
    {"_scaled_dot_product_attention_math", fused},
    {"_native_multi_head_attention", multi_head_projection_in, kMultiHeadRest},
    {"_transform_bias_rescale_qkv", split_heads},
    {"_fused_sdp_choice", choice},
};

}  // namespace

Entries attention_entries() { return kEntries; }

}  // namespace npu_sim::aten
