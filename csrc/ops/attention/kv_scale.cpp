#include "ops/attention/kv_scale.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/index_select.h>
#include <c10/util/Exception.h>

#include "ops/format/coded.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kGroup = 32;  // channels that share a scale of ScaleMode::kTokenGroup

void check_shape(ArgumentName name, const at::Tensor& scale, bool fits, const char* wanted) {
  TORCH_CHECK_VALUE(fits, name.op, ": expected ", name.argument, " of ", wanted, ", got ",
                    scale.sizes());
}

// [heads, width] or [1, 1]; only the number of elements counts, as for the card.
at::Tensor channel_scale(ArgumentName name, const at::Tensor& scale, const ScaledRows& rows) {
  if (scale.numel() == 1) return scale.reshape({1, 1});
  check_shape(name, scale, scale.numel() == rows.heads * rows.width,
              "one element, or one for every head and channel of keys, in mode 0");
  return scale.reshape({rows.heads, rows.width});
}

at::Tensor token_scale(ArgumentName name, const at::Tensor& scale, const ScaledRows& rows) {
  const at::Tensor flat = scale.dim() == 3 && scale.size(0) == 1 ? scale.squeeze(0) : scale;
  check_shape(name, scale,
              flat.dim() == 2 && flat.size(0) >= rows.sequences && flat.size(1) >= rows.tokens,
              "[batch, tokens] in mode 1, of all tokens that a sequence may have");
  return flat.unsqueeze(1).unsqueeze(-1);
}

at::Tensor head_scale(ArgumentName name, const at::Tensor& scale, const ScaledRows& rows) {
  check_shape(name, scale, scale.numel() == rows.heads, "[heads] in mode 2");
  return scale.reshape({rows.heads, 1});
}

at::Tensor token_head_scale(ArgumentName name, const at::Tensor& scale, const ScaledRows& rows) {
  check_shape(name, scale,
              scale.dim() == 3 && scale.size(0) >= rows.sequences && scale.size(1) == rows.heads &&
                  scale.size(2) >= rows.tokens,
              "[batch, heads, tokens] in mode 3, of all tokens that a sequence may have");
  return scale.unsqueeze(-1);
}

at::Tensor paged_scale(ArgumentName name, const at::Tensor& scale, const ScaledRows& rows,
                       bool by_head) {
  const std::int64_t axes = by_head ? 3 : 2;
  TORCH_CHECK_VALUE(rows.placement->paged(), name.op, ": expected a block_table with ",
                    name.argument, " of mode ", by_head ? 5 : 4, ", got None");
  const bool fits = scale.dim() == axes && scale.size(-1) == rows.placement->page &&
                    (!by_head || scale.size(1) == rows.heads);
  check_shape(name, scale, fits,
              by_head ? "[blocks, heads, tokens of a block] in mode 5"
                      : "[blocks, tokens of a block] in mode 4");
  return (by_head ? scale : scale.unsqueeze(1)).unsqueeze(-1);
}

at::Tensor group_scale(ArgumentName name, const at::Tensor& scale, const ScaledRows& rows) {
  const bool fits = scale.dim() == 5 && scale.size(0) == 1 && scale.size(1) >= rows.sequences &&
                    scale.size(2) == rows.heads && scale.size(3) >= rows.tokens &&
                    scale.size(4) * kGroup == rows.width && scale.element_size() == 1;
  check_shape(name, scale, fits,
              "[1, batch, heads, tokens, width / 32] of float8_e8m0fnu in mode 6");
  return scale.squeeze(0);
}

at::Tensor block_scale(ArgumentName name, const at::Tensor& scale, const ScaledRows& rows) {
  const std::int64_t blocks = (rows.tokens + rows.block - 1) / rows.block;
  const bool fits = scale.dim() == 4 && scale.size(0) >= rows.sequences &&
                    scale.size(1) == rows.heads && scale.size(2) >= blocks && scale.size(3) == 1;
  check_shape(name, scale, fits, "[batch, heads, blocks of tokens, 1] in mode 7");
  return scale;
}

at::Tensor laid_out(ArgumentName name, const at::Tensor& scale, ScaleMode mode,
                    const ScaledRows& rows) {
  switch (mode) {
    case ScaleMode::kChannel: return channel_scale(name, scale, rows);
    case ScaleMode::kToken: return token_scale(name, scale, rows);
    case ScaleMode::kHead: return head_scale(name, scale, rows);
    case ScaleMode::kTokenHead: return token_head_scale(name, scale, rows);
    case ScaleMode::kPagedToken: return paged_scale(name, scale, rows, false);
    case ScaleMode::kPagedTokenHead: return paged_scale(name, scale, rows, true);
    case ScaleMode::kTokenGroup: return group_scale(name, scale, rows);
    case ScaleMode::kBlock: return block_scale(name, scale, rows);
  }
  return scale;
}

}  // namespace

ScaleMode scale_mode(ArgumentName name, std::int64_t mode) {
  TORCH_CHECK_VALUE(mode >= 0 && mode <= static_cast<std::int64_t>(ScaleMode::kBlock), name.op,
                    ": expected ", name.argument, " in [0, 7], got ", mode);
  return static_cast<ScaleMode>(mode);
}

KvScale::KvScale(ArgumentName name, const at::Tensor& scale, ScaleMode mode, const ScaledRows& rows)
    : scale_(laid_out(name, scale, mode, rows)), mode_(mode), rows_(rows) {}

at::Tensor KvScale::by_block(const TokenRange& range) const {
  const at::Tensor blocks = scale_.select(0, range.sequence).select(0, range.head);
  const at::Tensor tokens = at::arange(range.first, range.first + range.length, at::kLong);
  return at::index_select(blocks, 0, tokens.floor_divide(rows_.block));
}

at::Tensor KvScale::of(const TokenRange& range) const {
  switch (mode_) {
    case ScaleMode::kChannel:
    case ScaleMode::kHead: {
      const std::int64_t head = scale_.size(0) == 1 ? 0 : range.head;
      return widened(scale_.narrow(0, head, 1));
    }
    case ScaleMode::kPagedToken:
    case ScaleMode::kPagedTokenHead: return widened(rows_of(scale_, *rows_.placement, range));
    case ScaleMode::kBlock: return widened(by_block(range));
    default: break;
  }
  const std::int64_t head = scale_.size(1) == 1 ? 0 : range.head;
  const std::int64_t skipped =
      rows_.placement->spans[static_cast<std::size_t>(range.sequence)].skipped;
  const at::Tensor rows = scale_.select(0, range.sequence)
                              .select(0, head)
                              .narrow(0, skipped + range.first, range.length);
  if (mode_ != ScaleMode::kTokenGroup) return widened(rows);
  return decoded_e8m0(rows).repeat_interleave(kGroup, 1);
}

}  // namespace npu_sim::ops
