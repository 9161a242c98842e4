// The work of grouped products.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "aten/describe/call.h"
#include "base/format.h"
#include "model/work/work.h"
#include "ops/matmul/groups.h"
#include "ops/matmul/scaled_product.h"

namespace npu_sim::ops {

// A call's grouped product, as far as its time follows from it.
struct GroupedProduct {
  std::int64_t groups = 0;  // matrices that there are
  std::int64_t rows = 0;    // of x
  std::int64_t n = 0;
  std::int64_t k = 0;
  base::Format a = base::Format::kBf16;
  base::Format b = base::Format::kBf16;
  base::Format out = base::Format::kBf16;
  std::optional<GroupSpans> spans =
      std::nullopt;  // nullopt where the sizes are not known (tracing): even ones
};

// Groups of rows: those without rows read no weights, and rows of no group are not computed.
[[nodiscard]] model::Work work_by_rows(const GroupedProduct& product);

// Groups of K, each a product of all `rows` rows over its part of `k`.
[[nodiscard]] model::Work work_by_k(const GroupedProduct& product);

// The dtype argument at `index`; nullopt for None or no such argument.
[[nodiscard]] std::optional<std::int64_t> dtype_at(const aten::Call& call, std::size_t index);

}  // namespace npu_sim::ops
