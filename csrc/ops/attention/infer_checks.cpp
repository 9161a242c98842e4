// What the card demands of the arguments of inference attention, and the shapes of its results.
//
// Source: op-plugin@517f2e7d (docs and FusedInferAttentionScoreV2KernelNpuOpApi.cpp) and the Ascend
// 950 columns of cann/ops-transformer, aclnnFusedInferAttentionScoreV5.md.
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "ops/attention/infer_call.h"
#include "ops/attention/paged_source.h"
#include "ops/format/coded.h"
#include "ops/format/element_of.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

bool is_wide(at::ScalarType dtype) { return dtype == at::kHalf || dtype == at::kBFloat16; }

std::optional<Element> element_in(const InferCall& call, const at::Tensor& tensor,
                                  std::optional<std::int64_t> dtype, const char* argument) {
  if (is_wide(tensor.scalar_type())) return std::nullopt;
  const std::optional<Element> element = tensor.scalar_type() == at::kByte && !dtype.has_value()
                                             ? std::nullopt
                                             : element_of(tensor, dtype);
  const bool fits =
      element.has_value() && (tensor.scalar_type() == carrier(*element) ||
                              (tensor.scalar_type() == at::kByte && tensor.element_size() == 1));
  TORCH_CHECK_TYPE(
      fits, call.names->op, ": expected ", argument,
      " of float16, bfloat16, int8, int32 (int4 packed), float8_e4m3fn, or uint8 with its dtype "
      "argument (hifloat8, float4), got ",
      tensor.scalar_type());
  return element;
}

bool is_query_element(Element element) {
  return element == Element::kInt8 || element == Element::kE4m3 || element == Element::kHifloat8;
}

at::ScalarType wide_dtype(const InferCall& call, std::int64_t dtype) {
  constexpr std::int64_t kAcl = 256;  // torch_npu's own numbers are this much above aclDataType
  constexpr std::int64_t kAclFloat16 = kAcl + 1;
  constexpr std::int64_t kAclBfloat16 = kAcl + 27;
  if (dtype == static_cast<std::int64_t>(at::kHalf) || dtype == kAclFloat16) return at::kHalf;
  const bool bfloat16 = dtype == static_cast<std::int64_t>(at::kBFloat16) || dtype == kAclBfloat16;
  TORCH_CHECK_VALUE(bfloat16, call.names->op, ": expected out_dtype of float16 or bfloat16, got ",
                    dtype);
  return at::kBFloat16;
}

void set_out_format(const InferCall& call, InferFormats& formats) {
  const InferQuantisation& quantisation = call.quantisation;
  if (given(quantisation.out_scale)) {
    const auto int8 = static_cast<std::int64_t>(at::kChar);
    formats.out =
        require_element(call.names->named("out_dtype"), quantisation.out_dtype.value_or(int8));
    TORCH_CHECK_VALUE(compute::bits(*formats.out) == 8, call.names->op,
                      ": expected out_dtype of int8, fp8 or hifloat8, got ",
                      *quantisation.out_dtype);
    formats.out_dtype = carrier(*formats.out);
    return;
  }
  TORCH_CHECK_VALUE(!given(quantisation.out_offset), call.names->op, ": expected ",
                    call.names->out_scale, " with ", call.names->out_offset, ", got None");
  if (!formats.query.has_value()) {
    formats.out_dtype = call.query.scalar_type();
  } else if (quantisation.out_dtype.has_value()) {
    formats.out_dtype = wide_dtype(call, *quantisation.out_dtype);
  } else {
    formats.out_dtype = given(call.query_rope) ? call.query_rope->scalar_type() : at::kHalf;
  }
}

// --- shapes

// Decoded elements of a row of `width` stored ones.
std::int64_t decoded_width(const at::Tensor& tensor, std::optional<Element> element,
                           std::int64_t width) {
  return element.has_value() ? width * codes_per_item(*element, tensor.scalar_type()) : width;
}

void check_axes(const InferCall& call, Axes axes) {
  const std::int64_t rank = rank_of(axes);
  TORCH_CHECK_VALUE(call.query.dim() == rank, call.names->op, ": expected query of ", rank,
                    " axes in layout ", call.layout, ", got ", call.query.sizes());
  if (given(call.block_table)) return;
  for (const auto& [tensor, argument] :
       {std::pair{&call.key, "key"}, std::pair{&call.value, "value"}}) {
    TORCH_CHECK_VALUE(tensor->dim() == rank, call.names->op, ": expected ", argument, " of ", rank,
                      " axes in layout ", call.layout, ", got ", tensor->sizes());
  }
}

void check_heads(const InferCall& call, std::int64_t kv_heads) {
  const std::int64_t heads = call.heads;
  TORCH_CHECK_VALUE(heads > 0, call.names->op, ": expected ", call.names->heads, " above 0, got ",
                    heads);
  TORCH_CHECK_VALUE(kv_heads > 0 && heads % kv_heads == 0, call.names->op,
                    ": expected num_key_value_heads that divides ", call.names->heads, " ", heads,
                    ", got ", call.kv_heads);
}

// heads first, after a check that the heads are there.
at::Tensor split_heads(const InferCall& call, const at::Tensor& tensor, const char* argument,
                       Axes axes, std::int64_t heads) {
  if (axes == Axes::kBsh) {
    TORCH_CHECK_VALUE(tensor.size(2) % heads == 0, call.names->op, ": expected ", argument, " of ",
                      heads, " heads, got a last axis of ", tensor.size(2));
  }
  const at::Tensor split = heads_first(tensor, axes, heads);
  TORCH_CHECK_VALUE(split.size(1) == heads, call.names->op, ": expected ", argument, " of ", heads,
                    " heads, got ", tensor.sizes());
  return split;
}

at::Tensor split_keys(const InferCall& call, const at::Tensor& tensor, const char* argument,
                      const InferSizes& sizes) {
  if (sizes.paged) return cache_heads_first(call.names->named(argument), tensor, sizes.kv_heads);
  return split_heads(call, tensor, argument, sizes.layout.operands, sizes.kv_heads);
}

// Tokens of a block or of the axis: behind the heads, before the width.
std::int64_t tokens_in(const at::Tensor& split) { return split.size(split.dim() == 5 ? 3 : 2); }

void check_key_shape(const InferCall& call, const InferSizes& sizes, const at::Tensor& key,
                     const InferFormats& formats) {
  const std::int64_t width = decoded_width(call.key, formats.key, row_width(key));
  TORCH_CHECK_VALUE(width == sizes.width, call.names->op, ": expected key of query's width ",
                    sizes.width, ", got ", width);
  TORCH_CHECK_VALUE(sizes.paged || key.size(0) == sizes.batch, call.names->op, ": expected key of ",
                    sizes.batch, " sequences, as query has, got ", call.key.sizes());
}

void check_value_shape(const InferCall& call, const at::Tensor& key, const at::Tensor& value) {
  TORCH_CHECK_VALUE(value.dim() == key.dim() && value.size(0) == key.size(0) &&
                        tokens_in(value) == tokens_in(key),
                    call.names->op, ": expected value of key's tokens, got ", call.value.sizes(),
                    " for key ", call.key.sizes());
}

void check_ropes(const InferCall& call, InferSizes& sizes, const at::Tensor& key) {
  const bool both = given(call.query_rope) && given(call.key_rope);
  TORCH_CHECK_VALUE(both || (!given(call.query_rope) && !given(call.key_rope)), call.names->op,
                    ": expected query_rope and key_rope together, got ",
                    given(call.query_rope) ? "no key_rope" : "no query_rope");
  if (!both) return;
  for (const auto& [rope, argument] :
       {std::pair{&*call.query_rope, "query_rope"}, std::pair{&*call.key_rope, "key_rope"}}) {
    TORCH_CHECK_TYPE(
        is_wide(rope->scalar_type()) && rope->scalar_type() == call.query_rope->scalar_type(),
        call.names->op, ": expected ", argument, " of float16 or bfloat16, both alike, got ",
        rope->scalar_type());
  }
  const Axes axes = sizes.layout.operands;
  TORCH_CHECK_VALUE(call.query_rope->dim() == rank_of(axes), call.names->op,
                    ": expected query_rope of ", rank_of(axes), " axes in layout ", call.layout,
                    ", got ", call.query_rope->sizes());
  const at::Tensor query_rope =
      split_heads(call, *call.query_rope, "query_rope", axes, sizes.heads);
  TORCH_CHECK_VALUE(query_rope.size(0) == sizes.batch && query_rope.size(2) == sizes.queries,
                    call.names->op, ": expected query_rope of query's tokens, got ",
                    call.query_rope->sizes());
  TORCH_CHECK_VALUE(sizes.paged || call.key_rope->dim() == rank_of(axes), call.names->op,
                    ": expected key_rope of ", rank_of(axes), " axes in layout ", call.layout,
                    ", got ", call.key_rope->sizes());
  const at::Tensor key_rope = split_keys(call, *call.key_rope, "key_rope", sizes);
  sizes.rope = query_rope.size(3);
  TORCH_CHECK_VALUE(sizes.rope > 0 && row_width(key_rope) == sizes.rope &&
                        key_rope.size(0) == key.size(0) && tokens_in(key_rope) == tokens_in(key),
                    call.names->op, ": expected key_rope of key's tokens and query_rope's width ",
                    sizes.rope, ", got ", call.key_rope->sizes());
}

void check_prefix(const InferCall& call, InferSizes& sizes) {
  const bool both = given(call.key_prefix) && given(call.value_prefix);
  TORCH_CHECK_VALUE(both || (!given(call.key_prefix) && !given(call.value_prefix)), call.names->op,
                    ": expected key_shared_prefix and value_shared_prefix together, got one");
  if (!both) return;
  TORCH_CHECK_VALUE(
      !sizes.paged && !is_flat(sizes.layout.operands) && sizes.rope == 0, call.names->op,
      ": expected no key_shared_prefix with block_table, query_rope or a layout with T");
  for (const auto& [prefix, like, argument] :
       {std::tuple{&*call.key_prefix, &call.key, "key_shared_prefix"},
        std::tuple{&*call.value_prefix, &call.value, "value_shared_prefix"}}) {
    TORCH_CHECK_TYPE(prefix->scalar_type() == like->scalar_type(), call.names->op, ": expected ",
                     argument, " of key's ", like->scalar_type(), ", got ", prefix->scalar_type());
    TORCH_CHECK_VALUE(
        prefix->dim() == like->dim() && prefix->size(0) == 1 && prefix->size(-1) == like->size(-1),
        call.names->op, ": expected ", argument, " as key or value with a batch of 1, got ",
        prefix->sizes());
  }
  const Axes axes = sizes.layout.operands;
  const at::Tensor key =
      split_heads(call, *call.key_prefix, "key_shared_prefix", axes, sizes.kv_heads);
  const at::Tensor value =
      split_heads(call, *call.value_prefix, "value_shared_prefix", axes, sizes.kv_heads);
  TORCH_CHECK_VALUE(value.size(2) == key.size(2), call.names->op,
                    ": expected value_shared_prefix of as many tokens as key_shared_prefix, got ",
                    call.value_prefix->sizes());
  sizes.prefix = key.size(2);
  if (!call.prefix_length.has_value()) return;
  sizes.prefix = lengths_for(call.names->named("actual_shared_prefix_len"), *call.prefix_length, 1,
                             key.size(2))[0];
}

void check_sinks(const InferCall& call, const InferSizes& sizes) {
  if (!given(call.sinks)) return;
  TORCH_CHECK_VALUE(call.sinks->sizes() == at::IntArrayRef{sizes.heads}, call.names->op,
                    ": expected learnable_sink of [", sizes.heads, "], one a head, got ",
                    call.sinks->sizes());
  TORCH_CHECK_TYPE(call.sinks->scalar_type() == at::kBFloat16, call.names->op,
                   ": expected learnable_sink of bfloat16, got ", call.sinks->scalar_type());
}

void check_bias(const InferCall& call, const InferSizes& sizes, std::int64_t keys) {
  if (!given(call.bias)) return;
  const at::Tensor& bias = *call.bias;
  const at::ScalarType dtype =
      is_wide(call.query.scalar_type()) ? call.query.scalar_type() : at::kHalf;
  TORCH_CHECK_TYPE(bias.scalar_type() == dtype, call.names->op, ": expected pse_shift of ", dtype,
                   ", got ", bias.scalar_type());
  TORCH_CHECK_VALUE(!is_flat(sizes.layout.operands), call.names->op,
                    ": expected no pse_shift in layout ", call.layout);
  const bool fits = bias.dim() == 4 && (bias.size(0) == 1 || bias.size(0) == sizes.batch) &&
                    bias.size(1) == sizes.heads && bias.size(2) >= sizes.queries &&
                    bias.size(3) >= keys;
  TORCH_CHECK_VALUE(fits, call.names->op, ": expected pse_shift of [", sizes.batch, " or 1, ",
                    sizes.heads, ", ", sizes.queries, ", ", keys, "] or more tokens, got ",
                    bias.sizes());
}

void check_compressed_mask(const InferCall& call) {
  const MaybeTensor& mask = call.masking.hidden;
  TORCH_CHECK_VALUE(given(mask), call.names->op,
                    ": expected atten_mask of [2048, 2048], a triangle, in sparse_mode ",
                    call.masking.sparse_mode, ", got None");
  TORCH_CHECK_VALUE(is_compressed_mask(mask), call.names->op,
                    ": expected atten_mask of [2048, 2048], a triangle, in sparse_mode ",
                    call.masking.sparse_mode, ", got ", mask->sizes());
}

// [queries, keys], [batch or 1, queries, keys], [batch or 1, 1, queries, keys]; of one query also
// [batch, keys]. Larger axes of tokens are padding.
void check_full_mask(const InferCall& call, const InferSizes& sizes, std::int64_t keys) {
  const at::Tensor& mask = *call.masking.hidden;
  const auto is_batch = [&](std::int64_t size) { return size == 1 || size == sizes.batch; };
  const auto has_tokens = [&] { return mask.size(-2) >= sizes.queries && mask.size(-1) >= keys; };
  bool fits = false;
  if (mask.dim() == 2)
    fits = sizes.queries == 1 ? is_batch(mask.size(0)) && mask.size(1) >= keys : has_tokens();
  if (mask.dim() == 3) fits = is_batch(mask.size(0)) && has_tokens();
  if (mask.dim() == 4) fits = is_batch(mask.size(0)) && mask.size(1) == 1 && has_tokens();
  TORCH_CHECK_VALUE(fits, call.names->op, ": expected atten_mask of [", sizes.queries, ", ", keys,
                    "] or more tokens, with leading axes of batch and 1, got ", mask.sizes());
}

}  // namespace

bool is_compressed_mask(const MaybeTensor& mask) {
  constexpr std::int64_t kEdge = 2048;
  return given(mask) && mask->dim() >= 2 && mask->dim() <= 4 && mask->size(-1) == kEdge &&
         mask->size(-2) == kEdge && mask->numel() == kEdge * kEdge;
}

bool ignores_sparse_mode(const InferSizes& sizes) {
  return sizes.queries == 1 && sizes.rope == 0 && !is_flat(sizes.layout.operands);
}

InferFormats infer_formats(const InferCall& call) {
  const InferQuantisation& quantisation = call.quantisation;
  InferFormats formats{
      .query = element_in(call, call.query, quantisation.query.dtype, "query"),
      .key = element_in(call, call.key, quantisation.key.dtype, "key"),
      .value = element_in(call, call.value, quantisation.value.dtype, "value"),
      .out = {},
  };
  TORCH_CHECK_TYPE(!formats.query.has_value() || is_query_element(*formats.query), call.names->op,
                   ": expected query of float16, bfloat16, int8, float8_e4m3fn or hifloat8, got ",
                   call.query.scalar_type());
  TORCH_CHECK_TYPE(
      formats.key == formats.value && call.key.scalar_type() == call.value.scalar_type(),
      call.names->op, ": expected value of key's dtype ", call.key.scalar_type(), ", got ",
      call.value.scalar_type());
  TORCH_CHECK_TYPE(!formats.query.has_value() || formats.key == formats.query, call.names->op,
                   ": expected key and value of the quantised query's dtype ",
                   call.query.scalar_type(), ", got ", call.key.scalar_type());
  TORCH_CHECK_TYPE(formats.key.has_value() || call.key.scalar_type() == call.query.scalar_type(),
                   call.names->op, ": expected key and value of query's dtype ",
                   call.query.scalar_type(), " or quantised, got ", call.key.scalar_type());
  set_out_format(call, formats);
  return formats;
}

InferSizes infer_output_sizes(const InferCall& call, const InferFormats& formats) {
  InferSizes sizes{.layout = infer_layout(call.names->op, call.layout),
                   .heads = call.heads,
                   .kv_heads = call.kv_heads == 0 ? call.heads : call.kv_heads,
                   .paged = given(call.block_table)};
  check_heads(call, sizes.kv_heads);
  check_axes(call, sizes.layout.operands);
  const at::Tensor query =
      split_heads(call, call.query, "query", sizes.layout.operands, sizes.heads);
  sizes.batch = query.size(0);
  sizes.queries = query.size(2);
  sizes.width = query.size(3);
  const at::Tensor value = split_keys(call, call.value, "value", sizes);
  sizes.keys = tokens_in(value);
  sizes.value_width = decoded_width(call.value, formats.value, row_width(value));
  TORCH_CHECK_VALUE(sizes.width > 0 && sizes.value_width > 0, call.names->op,
                    ": expected query and value of widths above 0, got ", call.query.sizes(),
                    " and ", call.value.sizes());
  return sizes;
}

InferSizes infer_sizes(const InferCall& call, const InferFormats& formats) {
  InferSizes sizes = infer_output_sizes(call, formats);
  const at::Tensor key = split_keys(call, call.key, "key", sizes);
  check_key_shape(call, sizes, key, formats);
  check_value_shape(call, key, split_keys(call, call.value, "value", sizes));
  check_ropes(call, sizes, key);
  check_prefix(call, sizes);
  check_sinks(call, sizes);
  return sizes;
}

void check_masking(const InferCall& call, const InferSizes& sizes) {
  const InferMasking& masking = call.masking;
  TORCH_CHECK_VALUE(masking.sparse_mode >= 0 && masking.sparse_mode <= 4, call.names->op,
                    ": expected sparse_mode in [0, 4], got ", masking.sparse_mode);
  std::int64_t keys = sizes.prefix + sizes.keys;
  if (sizes.paged && call.block_table->dim() == 2) keys = call.block_table->size(1) * sizes.keys;
  check_bias(call, sizes, keys);
  if (given(masking.hidden)) {
    const at::ScalarType dtype = masking.hidden->scalar_type();
    TORCH_CHECK_TYPE(dtype == at::kBool || dtype == at::kChar || dtype == at::kByte, call.names->op,
                     ": expected atten_mask of bool, int8 or uint8, got ", dtype);
  }
  const bool ignored = ignores_sparse_mode(sizes);
  if (masking.sparse_mode >= 2 && !ignored) return check_compressed_mask(call);
  if (masking.sparse_mode >= 2 && is_compressed_mask(masking.hidden)) return;
  TORCH_CHECK_VALUE(given(masking.hidden) || masking.sparse_mode == 0 || ignored, call.names->op,
                    ": expected atten_mask in sparse_mode 1, got None");
  if (!given(masking.hidden)) return;
  TORCH_CHECK_VALUE(!is_flat(sizes.layout.operands), call.names->op,
                    ": expected no full atten_mask in layout ", call.layout,
                    "; use sparse_mode 3 or 4 with the triangle of [2048, 2048]");
  check_full_mask(call, sizes, keys);
}

InferResult infer_results(const InferCall& call, const InferSizes& sizes,
                          const InferFormats& formats) {
  const std::vector<std::int64_t> shape =
      sizes_in(sizes.layout.result, {sizes.batch, sizes.heads, sizes.queries, sizes.value_width});
  const auto floats = call.query.options().dtype(at::kFloat);
  const std::vector<std::int64_t> lse =
      !call.wants_lse ? std::vector<std::int64_t>{0}
      : is_flat(sizes.layout.operands)
          ? std::vector<std::int64_t>{sizes.queries, sizes.heads, 1}
          : std::vector<std::int64_t>{sizes.batch, sizes.heads, sizes.queries, 1};
  return {.out = at::empty(shape, call.query.options().dtype(formats.out_dtype)),
          .lse = at::empty(lse, floats)};
}

}  // namespace npu_sim::ops
