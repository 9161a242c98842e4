#include "ops/attention/infer_scales.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <bit>

#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

// Tokens that share a scale in ScaleMode::kBlock. Source: aclnnFusedInferAttentionScoreV5.
constexpr std::int64_t kQueryBlock = 128;
constexpr std::int64_t kKeyBlock = 256;

// Which formats of keys and values the card takes in each mode, where query is wide.
// Source: the table of aclnnFusedInferAttentionScoreV5, keyAntiquantMode.
bool has_mode(Element element, ScaleMode mode) {
  const bool integer = element == Element::kInt8 || element == Element::kInt4;
  switch (mode) {
    case ScaleMode::kChannel:
      return integer || element == Element::kHifloat8 || element == Element::kE4m3;
    case ScaleMode::kToken:
    case ScaleMode::kTokenHead: return integer;
    case ScaleMode::kHead:
    case ScaleMode::kPagedToken:
    case ScaleMode::kPagedTokenHead: return element == Element::kInt8;
    case ScaleMode::kTokenGroup: return element == Element::kE2m1 || element == Element::kE1m2;
    case ScaleMode::kBlock: return false;
  }
  return false;
}

void refuse_given(const InferCall& call, const MaybeTensor& tensor, const char* argument,
                  const char* where) {
  TORCH_CHECK_VALUE(!given(tensor), call.names->op, ": expected no ", argument, " ", where,
                    ", got ", given(tensor) ? tensor->sizes() : at::IntArrayRef{});
}

void require_given(const InferCall& call, const MaybeTensor& tensor, const char* argument,
                   const char* where) {
  TORCH_CHECK_VALUE(given(tensor), call.names->op, ": expected ", argument, " ", where,
                    ", got None");
}

void refuse_product_scales(const InferCall& call, const char* where) {
  const InferQuantisation& quantisation = call.quantisation;
  refuse_given(call, quantisation.product_scale, call.names->product_scale, where);
  refuse_given(call, quantisation.weight_scale, call.names->weight_scale, where);
  refuse_given(call, quantisation.result_scale, call.names->result_scale, where);
}

void refuse_row_scales(const InferCall& call, const char* where) {
  const InferQuantisation& quantisation = call.quantisation;
  refuse_given(call, quantisation.query.scale, "dequant_scale_query", where);
  refuse_given(call, quantisation.key.scale, call.names->key_scale, where);
  refuse_given(call, quantisation.value.scale, call.names->value_scale, where);
  refuse_given(call, quantisation.both_scale, "antiquant_scale", where);
}

// Keys and values alone are quantised, each with scales of its own.
void check_separate(const InferCall& call, const InferFormats& formats) {
  const InferQuantisation& quantisation = call.quantisation;
  const char* const where = "of quantised keys and values";
  require_given(call, quantisation.key.scale, call.names->key_scale, where);
  require_given(call, quantisation.value.scale, call.names->value_scale, where);
  TORCH_CHECK_VALUE(given(quantisation.key.offset) == given(quantisation.value.offset),
                    call.names->op, ": expected ", call.names->key_offset, " and ",
                    call.names->value_offset, " together, got one");
  const ScaleMode key = scale_mode(call.names->named(call.names->key_mode), quantisation.key.mode);
  const ScaleMode value =
      scale_mode(call.names->named(call.names->value_mode), quantisation.value.mode);
  const bool mixed = key == ScaleMode::kChannel && value == ScaleMode::kToken;
  TORCH_CHECK_VALUE(key == value || mixed, call.names->op, ": expected ", call.names->value_mode,
                    " as ", call.names->key_mode, " ", quantisation.key.mode, ", or 0 and 1, got ",
                    quantisation.value.mode);
  for (const ScaleMode mode : {key, value}) {
    TORCH_CHECK_VALUE(has_mode(*formats.key, mode), call.names->op, ": expected a ",
                      call.names->key_mode, " that the card has for keys of ",
                      call.key.scalar_type(), ", got ", static_cast<std::int64_t>(mode));
  }
  TORCH_CHECK_VALUE(key != ScaleMode::kTokenGroup || !given(quantisation.key.offset),
                    call.names->op, ": expected no ", call.names->key_offset, " in mode 6");
}

void check_joint(const InferCall& call, const InferFormats& formats) {
  const InferQuantisation& quantisation = call.quantisation;
  TORCH_CHECK_TYPE(formats.key == Element::kInt8, call.names->op,
                   ": expected keys of int8 with antiquant_scale, got ", call.key.scalar_type());
  TORCH_CHECK_VALUE(quantisation.both_mode == 0 || quantisation.both_mode == 1, call.names->op,
                    ": expected antiquant_mode 0 or 1, got ", quantisation.both_mode);
  for (const auto& [tensor, argument] :
       {std::pair{&quantisation.both_scale, "antiquant_scale"},
        std::pair{&quantisation.both_offset, "antiquant_offset"}}) {
    if (!given(*tensor)) continue;
    TORCH_CHECK_VALUE((*tensor)->dim() >= 1 && (*tensor)->size(0) == 2, call.names->op,
                      ": expected ", argument, " of [2, ...], of keys and values, got ",
                      (*tensor)->sizes());
  }
}

// int8 operands with a scale of each product.
void check_product_scales(const InferCall& call, const InferSizes& sizes,
                          const InferFormats& formats) {
  const InferQuantisation& quantisation = call.quantisation;
  const char* const where = "of int8 operands";
  TORCH_CHECK_TYPE(formats.query == Element::kInt8, call.names->op,
                   ": expected query of int8 with ", call.names->product_scale, ", got ",
                   call.query.scalar_type());
  require_given(call, quantisation.product_scale, call.names->product_scale, where);
  require_given(call, quantisation.weight_scale, call.names->weight_scale, where);
  require_given(call, quantisation.result_scale, call.names->result_scale, where);
  refuse_row_scales(call, "beside scales of products");
  TORCH_CHECK_VALUE(sizes.rope == 0, call.names->op,
                    ": expected no query_rope beside scales of products");
}

// Quantised operands with scales of their own: latent attention, blocks of tokens, tokens and
// heads.
void check_full(const InferCall& call, const InferSizes& sizes, const InferFormats& formats) {
  const InferQuantisation& quantisation = call.quantisation;
  const char* const where = "of quantised operands";
  require_given(call, quantisation.query.scale, "dequant_scale_query", where);
  require_given(call, quantisation.key.scale, call.names->key_scale, where);
  require_given(call, quantisation.value.scale, call.names->value_scale, where);
  refuse_given(call, quantisation.key.offset, call.names->key_offset, where);
  refuse_given(call, quantisation.value.offset, call.names->value_offset, where);
  const std::array modes{quantisation.query.mode, quantisation.key.mode, quantisation.value.mode};
  const bool latent = modes == std::array<std::int64_t, 3>{3, 0, 0} && sizes.rope > 0;
  const bool blocks = modes == std::array<std::int64_t, 3>{7, 7, 7} &&
                      formats.query != Element::kInt8 && !is_flat(sizes.layout.operands) &&
                      !sizes.paged;
  const bool tokens =
      modes == std::array<std::int64_t, 3>{3, 3, 2} && formats.query == Element::kE4m3;
  TORCH_CHECK_VALUE(
      latent || blocks || tokens, call.names->op, ": expected query_quant_mode, ",
      call.names->key_mode, " and ", call.names->value_mode,
      " 3, 0, 0 with query_rope, 7, 7, 7 (fp8, hifloat8) or 3, 3, 2 (float8_e4m3fn), got ",
      modes[0], ", ", modes[1], ", ", modes[2]);
  TORCH_CHECK_VALUE(!given(quantisation.out_scale) || !latent, call.names->op, ": expected no ",
                    call.names->out_scale, " of quantised latent attention");
}

bool scales_products(const InferCall& call) { return given(call.quantisation.product_scale); }

// A scale as the card reads it: fp32, or fp32 in the low half of 64 bits.
float number_in(const InferCall& call, const MaybeTensor& tensor, const char* argument) {
  TORCH_CHECK_VALUE(tensor->numel() == 1, call.names->op, ": expected ", argument,
                    " of one element, got ", tensor->sizes());
  if (tensor->scalar_type() == at::kFloat) return *tensor->const_data_ptr<float>();
  TORCH_CHECK_TYPE(tensor->scalar_type() == at::kUInt64 || tensor->scalar_type() == at::kLong,
                   call.names->op, ": expected ", argument, " of float32 or uint64, got ",
                   tensor->scalar_type());
  const auto bits = *static_cast<const std::uint64_t*>(tensor->const_data_ptr());
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
}

MaybeTensor half_of(const MaybeTensor& both, std::int64_t index) {
  return given(both) ? MaybeTensor(both->select(0, index)) : std::nullopt;
}

// The coding of keys (index 0) or values (1), from separate or joint scales.
CodedRows coding_of(const InferCall& call, std::int64_t index) {
  const InferQuantisation& quantisation = call.quantisation;
  const CodedRows& own = index == 0 ? quantisation.key : quantisation.value;
  if (given(own.scale)) return own;
  return {.scale = half_of(quantisation.both_scale, index),
          .offset = half_of(quantisation.both_offset, index),
          .mode = quantisation.both_mode,
          .dtype = own.dtype};
}

struct KvArgument {
  std::int64_t index = 0;  // keys or values
  const char* scale;
  const char* offset;
  std::int64_t width = 0;
};

KvScales scales_of(const InferCall& call, const InferSizes& sizes, const Placement& placement,
                   const KvArgument& argument) {
  const CodedRows coding = coding_of(call, argument.index);
  std::int64_t tokens = sizes.prefix + sizes.keys;
  if (placement.paged()) {
    tokens = 0;
    for (const TokenSpan& span : placement.spans) tokens = std::max(tokens, span.length);
  }
  const ScaledRows rows{.sequences = std::ssize(placement.spans),
                        .heads = sizes.kv_heads,
                        .tokens = tokens,
                        .width = argument.width,
                        .block = kKeyBlock,
                        .placement = &placement};
  const auto mode = static_cast<ScaleMode>(coding.mode);
  KvScales scales{.scale = KvScale(call.names->named(argument.scale), *coding.scale, mode, rows),
                  .offset = {}};
  if (given(coding.offset)) {
    scales.offset = KvScale(call.names->named(argument.offset), *coding.offset, mode, rows);
  }
  return scales;
}

at::Tensor token_head_query_scale(const InferCall& call, const InferSizes& sizes) {
  const at::Tensor& scale = *call.quantisation.query.scale;
  const Axes axes = sizes.layout.operands == Axes::kBsh ? Axes::kBsnd : sizes.layout.operands;
  const std::vector<std::int64_t> wanted =
      sizes_in(axes, {sizes.batch, sizes.heads, sizes.queries, 1});
  const at::IntArrayRef expected = at::IntArrayRef(wanted).slice(0, wanted.size() - 1);
  TORCH_CHECK_VALUE(scale.sizes() == expected, call.names->op, ": expected dequant_scale_query of ",
                    expected, ", one a token and head, got ", scale.sizes());
  return widened(heads_first(scale.unsqueeze(-1), axes, sizes.heads));
}

at::Tensor block_query_scale(const InferCall& call, const InferSizes& sizes) {
  const at::Tensor& scale = *call.quantisation.query.scale;
  const std::int64_t blocks = (sizes.queries + kQueryBlock - 1) / kQueryBlock;
  const bool fits = scale.dim() == 4 && scale.size(0) == sizes.batch &&
                    scale.size(1) == sizes.heads && scale.size(2) >= blocks && scale.size(3) == 1;
  TORCH_CHECK_VALUE(fits, call.names->op, ": expected dequant_scale_query of [", sizes.batch, ", ",
                    sizes.heads, ", ", blocks, ", 1] in mode 7, got ", scale.sizes());
  return widened(scale).repeat_interleave(kQueryBlock, 2).narrow(2, 0, sizes.queries);
}

}  // namespace

void check_scales(const InferCall& call, const InferSizes& sizes, const InferFormats& formats) {
  const InferQuantisation& quantisation = call.quantisation;
  if (!formats.key.has_value()) {
    refuse_product_scales(call, "of wide operands");
    return refuse_row_scales(call, "of wide operands");
  }
  if (formats.query.has_value()) {
    return scales_products(call) ? check_product_scales(call, sizes, formats)
                                 : check_full(call, sizes, formats);
  }
  refuse_product_scales(call, "of a wide query");
  refuse_given(call, quantisation.query.scale, "dequant_scale_query", "of a wide query");
  const bool separate = given(quantisation.key.scale) || given(quantisation.value.scale);
  if (separate || !given(quantisation.both_scale)) return check_separate(call, formats);
  check_joint(call, formats);
}

at::Tensor query_scale(const InferCall& call, const InferSizes& sizes) {
  if (!given(call.quantisation.query.scale)) return {};
  const auto mode = static_cast<ScaleMode>(call.quantisation.query.mode);
  return mode == ScaleMode::kBlock ? block_query_scale(call, sizes)
                                   : token_head_query_scale(call, sizes);
}

KvScales key_scales(const InferCall& call, const InferSizes& sizes, const InferFormats& formats,
                    const Placement& placement) {
  if (!formats.key.has_value() || scales_products(call)) return {};
  return scales_of(call, sizes, placement,
                   {.index = 0,
                    .scale = call.names->key_scale,
                    .offset = call.names->key_offset,
                    .width = sizes.width});
}

KvScales value_scales(const InferCall& call, const InferSizes& sizes, const InferFormats& formats,
                      const Placement& placement) {
  if (!formats.value.has_value()) return {};
  if (!scales_products(call)) {
    return scales_of(call, sizes, placement,
                     {.index = 1,
                      .scale = call.names->value_scale,
                      .offset = call.names->value_offset,
                      .width = sizes.value_width});
  }
  const float factor = number_in(call, call.quantisation.weight_scale, call.names->weight_scale) *
                       number_in(call, call.quantisation.result_scale, call.names->result_scale);
  const at::Tensor constant = at::full({1}, factor, at::kFloat);
  return {.scale = KvScale(
              call.names->named(call.names->result_scale), constant, ScaleMode::kChannel,
              {.heads = sizes.kv_heads, .width = sizes.value_width, .placement = &placement}),
          .offset = {}};
}

at::ScalarType rounding_of_keys(const InferCall& call, const InferFormats& formats) {
  return formats.query.has_value() ? at::kFloat : call.query.scalar_type();
}

float product_scale(const InferCall& call) {
  if (!scales_products(call)) return 1;
  return number_in(call, call.quantisation.product_scale, call.names->product_scale);
}

at::Tensor out_parameter(const InferCall& call, const InferSizes& sizes,
                         const at::Tensor& parameter, const char* argument) {
  TORCH_CHECK_TYPE(
      parameter.scalar_type() == at::kFloat || parameter.scalar_type() == at::kBFloat16,
      call.names->op, ": expected ", argument, " of float32 or bfloat16, got ",
      parameter.scalar_type());
  const std::int64_t channels = sizes.heads * sizes.value_width;
  TORCH_CHECK_VALUE(parameter.numel() == 1 || parameter.numel() == channels, call.names->op,
                    ": expected ", argument, " of one element or of ", channels,
                    ", one a head and channel, got ", parameter.sizes());
  const at::Tensor wide = widened(parameter);
  if (parameter.numel() == 1) return wide.reshape({1, 1, 1, 1});
  return wide.reshape({1, sizes.heads, 1, sizes.value_width});
}

}  // namespace npu_sim::ops
