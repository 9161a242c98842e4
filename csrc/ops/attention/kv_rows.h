// Keys or values of a call in fp32, tile by tile: from a tensor, a paged cache or behind a shared
// prefix, decoded and scaled where they are quantised.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "compute/format/element.h"
#include "ops/attention/flash.h"
#include "ops/attention/kv_scale.h"
#include "ops/attention/paged_source.h"

namespace npu_sim::ops {

// Tensors seen heads first, and what their elements mean.
struct KvPart {
  at::Tensor tokens;
  at::Tensor prefix;                        // [1, heads, tokens, width]; undefined: none
  std::optional<compute::Element> element;  // nullopt: wide
  KvScale scale;
  KvScale offset;
};

class KvRows {
 public:
  // Parts stand side by side in a row. Quantised rows are rounded to `rounded_to`, the dtype that
  // the card computes in; fp32: not at all.
  KvRows(std::vector<KvPart> parts, const Placement& placement, std::int64_t prefix,
         at::ScalarType rounded_to);

  // Rows of one head of one sequence, the prefix first. Must not outlive this object.
  [[nodiscard]] flash::RowSource source(std::int64_t sequence, std::int64_t head) const;

 private:
  [[nodiscard]] bool lies_dense() const;
  [[nodiscard]] flash::RowSource dense_source(std::int64_t sequence, std::int64_t head) const;
  [[nodiscard]] at::Tensor stored(const KvPart& part, const TokenRange& range) const;
  [[nodiscard]] at::Tensor part_of(const KvPart& part, const TokenRange& range) const;

  std::vector<KvPart> parts_;
  const Placement& placement_;
  std::int64_t prefix_ = 0;
  at::ScalarType rounded_to_ = at::kFloat;
};

}  // namespace npu_sim::ops
