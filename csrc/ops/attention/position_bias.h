// The argument pse of training attention: what is added to the scores.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string_view>

#include "ops/attention/flash.h"
#include "ops/attention/layout.h"

namespace npu_sim::ops {

// Types 0 and 1 take the values: [B or 1, N, Sq, Skv], [B, N, 1, Skv], or the last 1024 rows of an
// alibi, [B or 1, N, 1024, Skv], whose values depend on the distance of query and key alone. Types
// 2 and 3 take slopes, [N] or [B, N] in fp32, and make -slope distance or -slope sqrt(distance).
// Type 1 adds before the scale, the others after it.
// Source: ops-transformer, aclnnFlashAttentionScoreV2 and pse.h.
struct PositionBias {
  static constexpr std::int64_t kCompressedRows = 1024;
  enum Type : std::int64_t { kAddThenScale = 1, kSlopes = 2, kRootSlopes = 3 };

  at::Tensor values;        // contiguous
  bool compressed = false;  // values are the last 1024 rows of an alibi
  std::int64_t type = kAddThenScale;
  std::int64_t query_start = 0;  // position of the first query, for slopes
  std::int64_t key_start = 0;

  [[nodiscard]] bool is_slopes() const { return type == kSlopes || type == kRootSlopes; }
  // Whether the sequences of a batch share the values.
  [[nodiscard]] bool is_shared() const {
    return values.dim() == 1 || (values.dim() == 4 && values.size(0) == 1);
  }

  struct Expected {
    const char* op;
    at::ScalarType dtype;
    std::int64_t batch;
    std::int64_t heads;
    std::int64_t queries;  // of the longest sequence
    std::int64_t keys;
  };
  // Raises ValueError or TypeError on other dtypes and shapes than those above.
  void check(const Expected& expected) const;

  // What to add for heads [head, ...) of a sequence. This must outlive the result.
  [[nodiscard]] flash::Bias bias_of(std::int64_t sequence, std::int64_t head, double scale) const;

  // Adds the gradient of what bias_of added to `gradient`, fp32 of the values' shape.
  using TakeGradient =
      std::function<void(const flash::Area& area, const float* rows, std::int64_t stride)>;
  [[nodiscard]] TakeGradient gradient_of(std::int64_t sequence, std::int64_t head,
                                         const at::Tensor& gradient) const;

 private:
  // Where in `values` the biases of a row of scores lie: elements from the first one of key 0,
  // which may be outside.
  struct Row {
    std::int64_t start = 0;
    std::int64_t first_key = 0;  // keys that have a value
    std::int64_t last_key = 0;
  };
  [[nodiscard]] Row row_of(std::int64_t sequence, std::int64_t head, std::int64_t query) const;
  void fill_slopes(std::int64_t sequence, const flash::Area& area, float* to) const;
};

}  // namespace npu_sim::ops
