// Inference attention: brings layouts, lengths, pages, scales and masks of a call to the tiles of
// flash.h.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <limits>

#include "ops/attention/flash.h"
#include "ops/attention/float_rows.h"
#include "ops/attention/infer_call.h"
#include "ops/attention/infer_scales.h"
#include "ops/attention/kv_rows.h"
#include "ops/format/coded.h"
#include "ops/precision.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

constexpr float kNoKeys = std::numeric_limits<float>::infinity();

// --- where tokens lie

std::optional<std::int64_t> padding_of(const InferCall& call, const MaybeTensor& padding,
                                       const char* argument) {
  if (!given(padding)) return std::nullopt;
  const Integers values = integers_of(call.names->named(argument), *padding);
  TORCH_CHECK_VALUE(values.size() == 1, call.names->op, ": expected ", argument, " of [1], got ",
                    padding->sizes());
  return values[0];
}

std::vector<TokenSpan> query_spans(const InferCall& call, const InferSizes& sizes) {
  Lengths lengths{.name = call.names->named(call.names->query_lengths),
                  .values = call.query_lengths,
                  .padding = padding_of(call, call.query_padding, "query_padding_size")};
  // Lengths of one query have no effect, nor has padding beside pages. Source: op-plugin's
  // documentation.
  if (ignores_sparse_mode(sizes)) lengths.values = std::nullopt;
  if (sizes.paged) lengths.padding = std::nullopt;
  return token_spans(lengths, sizes.layout.operands,
                     {sizes.batch, sizes.heads, sizes.queries, sizes.width});
}

at::Tensor split(const at::Tensor& tensor, const InferSizes& sizes) {
  return heads_first(tensor, sizes.paged ? Axes::kBsh : sizes.layout.operands, sizes.kv_heads);
}

at::Tensor split_keys(const at::Tensor& tensor, const InferSizes& sizes) {
  return sizes.paged && tensor.dim() != 3 ? tensor : split(tensor, sizes);
}

Placement key_placement(const InferCall& call, const InferSizes& sizes, std::int64_t sequences) {
  const ArgumentName name = call.names->named(call.names->key_lengths);
  if (!sizes.paged) {
    const Lengths lengths{.name = name,
                          .values = call.key_lengths,
                          .padding = padding_of(call, call.key_padding, "kv_padding_size")};
    const std::vector<TokenSpan> spans = token_spans(
        lengths, sizes.layout.operands, {sizes.batch, sizes.kv_heads, sizes.keys, sizes.width});
    TORCH_CHECK_VALUE(std::ssize(spans) == sequences, name.op, ": expected ", name.argument, " of ",
                      sequences, " sequences, as the queries have, got ", spans.size());
    return {.spans = spans, .pages = {}};
  }
  TORCH_CHECK_VALUE(call.key_lengths.has_value(), name.op, ": expected ", name.argument,
                    " with a block_table, got None");
  const Integers lengths =
      lengths_for(name, *call.key_lengths, sequences, std::numeric_limits<std::int32_t>::max());
  return paged_placement(name.op, *call.block_table, lengths,
                         {.count = call.key.size(0), .tokens = sizes.keys});
}

// --- operands

// Everything that the problems point into.
struct Operands {
  const InferCall& call;
  const InferSizes& sizes;
  const InferFormats& formats;
  std::vector<TokenSpan> queries;
  Placement keys;
  at::Tensor query;       // heads first; fp32 where it was quantised
  at::Tensor query_rope;  // undefined: none
  at::Tensor hidden;      // [batch or 1, queries, keys], uint8; undefined: none
  at::Tensor bias;        // [batch or 1, heads, queries, keys]; undefined: none
  at::Tensor sinks;       // fp32; undefined: none
  float scale = 1;
};

at::Tensor with_dense_rows(const at::Tensor& tensor) {
  return tensor.stride(-1) == 1 ? tensor : tensor.contiguous();
}

at::Tensor wide_query(const InferCall& call, const InferSizes& sizes, const InferFormats& formats) {
  if (!formats.query.has_value()) {
    return with_dense_rows(heads_first(call.query, sizes.layout.operands, sizes.heads));
  }
  const at::Tensor values =
      heads_first(decoded(call.query, *formats.query), sizes.layout.operands, sizes.heads);
  const at::Tensor scale = query_scale(call, sizes);
  return (scale.defined() ? values * scale : values).contiguous();
}

// [batch or 1, queries, keys]; a mask of one query may lack the axis of queries.
at::Tensor full_mask(const InferCall& call, const InferSizes& sizes) {
  const InferMasking& masking = call.masking;
  if (!given(masking.hidden)) return {};
  const bool ignored = ignores_sparse_mode(sizes);
  if (masking.sparse_mode >= 2 && (!ignored || is_compressed_mask(masking.hidden))) return {};
  at::Tensor mask = masking.hidden->view(at::kByte);
  if (mask.dim() == 4) mask = mask.select(1, 0);
  if (mask.dim() == 2) mask = mask.unsqueeze(sizes.queries == 1 ? 1 : 0);
  return with_dense_rows(mask);
}

Operands operands_of(const InferCall& call, const InferSizes& sizes, const InferFormats& formats) {
  std::vector<TokenSpan> queries = query_spans(call, sizes);
  Placement keys = key_placement(call, sizes, std::ssize(queries));
  Operands on{.call = call,
              .sizes = sizes,
              .formats = formats,
              .queries = std::move(queries),
              .keys = std::move(keys),
              .query = wide_query(call, sizes, formats),
              .query_rope = {},
              .hidden = full_mask(call, sizes),
              .bias = {},
              .sinks = {},
              .scale = static_cast<float>(call.scale) * product_scale(call)};
  if (sizes.rope > 0) {
    on.query_rope =
        with_dense_rows(heads_first(*call.query_rope, sizes.layout.operands, sizes.heads));
  }
  if (given(call.bias)) on.bias = with_dense_rows(*call.bias);
  if (given(call.sinks)) on.sinks = widened(*call.sinks).contiguous();
  return on;
}

KvPart part_of(const Operands& on, const at::Tensor& tokens, const MaybeTensor& prefix,
               std::optional<compute::Element> element) {
  KvPart part{.tokens = split_keys(tokens, on.sizes),
              .prefix = {},
              .element = element,
              .scale = {},
              .offset = {}};
  if (given(prefix)) part.prefix = split(*prefix, on.sizes);
  return part;
}

KvRows key_rows(const Operands& on, const KvScales& scales) {
  std::vector<KvPart> parts{part_of(on, on.call.key, on.call.key_prefix, on.formats.key)};
  parts[0].scale = scales.scale;
  parts[0].offset = scales.offset;
  if (on.sizes.rope > 0) parts.push_back(part_of(on, *on.call.key_rope, {}, std::nullopt));
  return {std::move(parts), on.keys, on.sizes.prefix, rounding_of_keys(on.call, on.formats)};
}

KvRows value_rows(const Operands& on, const KvScales& scales) {
  KvPart part = part_of(on, on.call.value, on.call.value_prefix, on.formats.value);
  part.scale = scales.scale;
  part.offset = scales.offset;
  return {{std::move(part)}, on.keys, on.sizes.prefix, rounding_of_keys(on.call, on.formats)};
}

// --- one problem

flash::Strided strided_of(const at::Tensor& heads_first, const TokenSpan& span, std::int64_t head) {
  const at::Tensor rows =
      heads_first.select(0, span.batch).select(0, head).narrow(0, span.first, span.length);
  return {.data = rows.const_data_ptr(),
          .dtype = rows.scalar_type(),
          .width = rows.size(1),
          .stride = rows.stride(0)};
}

flash::Mask mask_of(const Operands& on, const TokenSpan& queries, std::int64_t sequence,
                    std::int64_t keys) {
  const InferMasking& masking = on.call.masking;
  flash::Mask mask;
  if (!ignores_sparse_mode(on.sizes)) {
    // Without a mask sparse_mode 0 attends to all; on the left padded, it does not look at the
    // band.
    const bool padded = given(on.call.query_padding) || given(on.call.key_padding);
    const std::int64_t all = flash::kUnlimited;
    switch (masking.sparse_mode) {
      case 0:
        if (on.hidden.defined() && !padded)
          mask = flash::left_up(masking.pre_tokens, masking.next_tokens);
        break;
      case 2: mask = flash::left_up(all, 0); break;
      case 3: mask = flash::right_down(all, 0, queries.length, keys); break;
      case 4:
        mask = flash::right_down(masking.pre_tokens, masking.next_tokens, queries.length, keys);
        break;
      default: break;
    }
  }
  if (!on.hidden.defined()) return mask;
  const std::int64_t batch = on.hidden.size(0) == 1 ? 0 : queries.batch;
  const std::int64_t skipped = on.keys.spans[static_cast<std::size_t>(sequence)].skipped;
  mask.hidden = static_cast<const std::uint8_t*>(on.hidden.const_data_ptr()) +
                batch * on.hidden.stride(0) + queries.skipped * on.hidden.stride(1) + skipped;
  mask.hidden_query_stride = on.hidden.stride(1);
  return mask;
}

flash::Bias bias_of(const Operands& on, const TokenSpan& queries, std::int64_t sequence,
                    std::int64_t head) {
  if (!on.bias.defined()) return {};
  const at::Tensor& bias = on.bias;
  const at::Tensor batch = bias.select(0, bias.size(0) == 1 ? 0 : queries.batch);
  const std::int64_t row = queries.skipped;
  const std::int64_t column = on.keys.spans[static_cast<std::size_t>(sequence)].skipped;
  return {.rows = [batch, row, column, head](const flash::Area& area, float* scratch) {
    const at::Tensor rows =
        batch.select(0, head + area.head).narrow(0, row + area.query, area.queries);
    const auto* from = static_cast<const std::byte*>(rows.const_data_ptr());
    const auto bytes = static_cast<std::int64_t>(rows.element_size());
    for (std::int64_t i = 0; i < area.queries; ++i) {
      flash::widen(from + (i * rows.stride(0) + column + area.key) * bytes, rows.scalar_type(),
                   area.keys, scratch + i * area.keys);
    }
    return flash::Rows{scratch, area.keys};
  }};
}

// Where problems write: views heads first.
struct Written {
  at::Tensor out;
  at::Tensor lse;  // [batch, heads, queries]; undefined: not wanted
};

flash::Problem problem_of(const Operands& on, const Written& target, std::int64_t sequence,
                          std::int64_t kv_head) {
  const TokenSpan& queries = on.queries[static_cast<std::size_t>(sequence)];
  const std::int64_t shared = on.sizes.heads / on.sizes.kv_heads;
  const std::int64_t head = kv_head * shared;
  const std::int64_t keys = on.sizes.prefix + on.keys.length(sequence);
  flash::Problem problem;
  problem.heads = shared;
  problem.queries = queries.length;
  problem.keys = keys;
  problem.scale = on.scale;
  problem.query.push_back(strided_of(on.query, queries, head));
  problem.query_head_stride = on.query.stride(1);
  if (on.query_rope.defined()) {
    problem.query.push_back(strided_of(on.query_rope, queries, head));
    problem.rope_head_stride = on.query_rope.stride(1);
  }
  problem.value_width = on.sizes.value_width;
  problem.mask = mask_of(on, queries, sequence, keys);
  problem.bias = bias_of(on, queries, sequence, head);
  if (on.sinks.defined()) problem.sinks = on.sinks.const_data_ptr<float>() + head;
  const flash::Strided out = strided_of(target.out, queries, head);
  problem.out = {.data = const_cast<void*>(out.data),
                 .dtype = out.dtype,
                 .head_stride = target.out.stride(1),
                 .row_stride = out.stride};
  if (target.lse.defined()) {
    problem.statistics.lse = target.lse.mutable_data_ptr<float>() +
                             queries.batch * target.lse.stride(0) + head * target.lse.stride(1) +
                             queries.first * target.lse.stride(2);
    problem.statistics.head_stride = target.lse.stride(1);
    problem.statistics.row_stride = target.lse.stride(2);
  }
  return problem;
}

void compute(const Operands& on, const Written& target) {
  const KvRows keys = key_rows(on, key_scales(on.call, on.sizes, on.formats, on.keys));
  const KvRows values = value_rows(on, value_scales(on.call, on.sizes, on.formats, on.keys));
  std::vector<flash::Problem> problems;
  for (std::int64_t s = 0; s < std::ssize(on.queries); ++s) {
    if (on.queries[static_cast<std::size_t>(s)].length == 0) continue;
    for (std::int64_t head = 0; head < on.sizes.kv_heads; ++head) {
      problems.push_back(problem_of(on, target, s, head));
      if (problems.back().keys == 0) continue;
      problems.back().key = keys.source(s, head);
      problems.back().value = values.source(s, head);
    }
  }
  flash::forward(problems);
}

// What the card stores of fp32 results heads first: codes of value * scale + offset.
void store_codes(const Operands& on, const at::Tensor& values, const at::Tensor& out) {
  const InferQuantisation& quantisation = on.call.quantisation;
  at::Tensor scaled =
      values * out_parameter(on.call, on.sizes, *quantisation.out_scale, on.call.names->out_scale);
  if (given(quantisation.out_offset)) {
    scaled = scaled +
             out_parameter(on.call, on.sizes, *quantisation.out_offset, on.call.names->out_offset);
  }
  out.copy_(encoded(on.call.names->op, scaled, *on.formats.out, cast_rounding(*on.formats.out)));
}

// The lse of [tokens, heads, 1] or [batch, heads, queries, 1] as [batch, heads, queries].
at::Tensor lse_heads_first(const at::Tensor& lse) {
  const at::Tensor flat = lse.squeeze(-1);
  return lse.dim() == 3 ? flat.transpose(0, 1).unsqueeze(0) : flat;
}

}  // namespace

InferResult infer_attention(const InferCall& call) {
  const InferFormats formats = infer_formats(call);
  const InferSizes sizes = infer_sizes(call, formats);
  check_masking(call, sizes);
  check_scales(call, sizes, formats);
  const InferResult result = infer_results(call, sizes, formats);
  if (call.query.is_meta() || result.out.numel() == 0) return result;
  const Operands on = operands_of(call, sizes, formats);
  const at::Tensor out = heads_first(result.out, sizes.layout.result, sizes.heads);
  Written target{.out = formats.out.has_value()
                            ? at::zeros(out.sizes(), out.options().dtype(at::kFloat))
                            : out,
                 .lse = {}};
  target.out.zero_();
  if (call.wants_lse) {
    result.lse.fill_(kNoKeys);
    target.lse = lse_heads_first(result.lse);
  }
  compute(on, target);
  if (formats.out.has_value()) store_codes(on, target.out, out);
  if (call.wants_lse) result.lse.masked_fill_(result.lse == -kNoKeys, kNoKeys);
  return result;
}

}  // namespace npu_sim::ops
