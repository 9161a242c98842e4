// Scales of quantised keys, values and queries: what a decoded code is multiplied by after its
// offset was added, value = (code + offset) * scale.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ops/attention/paged_source.h"

namespace npu_sim::ops {

// The numbers of torch_npu's *_antiquant_mode and *_quant_mode.
// Source: aclnnFusedInferAttentionScoreV5 of cann/ops-transformer, keyAntiquantMode.
enum class ScaleMode : std::uint8_t {
  kChannel = 0,     // one a head and channel, or one of all: [heads, width] with ones anywhere, [1]
  kToken = 1,       // [1, batch, tokens], [batch, tokens]
  kHead = 2,        // [heads]
  kTokenHead = 3,   // [batch, heads, tokens]
  kPagedToken = 4,  // [blocks, tokens of a block]
  kPagedTokenHead = 5,  // [blocks, heads, tokens of a block]
  kTokenGroup = 6,      // E8M0, one for 32 channels: [1, batch, heads, tokens, width / 32]
  kBlock = 7,           // one for a block of tokens: [batch, heads, blocks of tokens, 1]
};

[[nodiscard]] ScaleMode scale_mode(ArgumentName name, std::int64_t mode);

// What a scale belongs to.
struct ScaledRows {
  std::int64_t sequences = 0;
  std::int64_t heads = 0;
  std::int64_t tokens = 0;  // that a sequence may have
  std::int64_t width = 0;   // decoded
  std::int64_t block = 0;   // tokens of a block in ScaleMode::kBlock
  const Placement* placement = nullptr;
};

class KvScale {
 public:
  KvScale() = default;

  // Raises ValueError, as by `name`, where the tensor's shape is not that of the mode.
  KvScale(ArgumentName name, const at::Tensor& scale, ScaleMode mode, const ScaledRows& rows);

  [[nodiscard]] bool defined() const { return scale_.defined(); }

  // fp32, broadcasts against [length, width].
  [[nodiscard]] at::Tensor of(const TokenRange& range) const;

 private:
  [[nodiscard]] at::Tensor by_block(const TokenRange& range) const;

  at::Tensor scale_;  // [heads, 1 or width], [batch, heads or 1, tokens, groups], or pages of these
  ScaleMode mode_ = ScaleMode::kChannel;
  ScaledRows rows_;
};

}  // namespace npu_sim::ops
