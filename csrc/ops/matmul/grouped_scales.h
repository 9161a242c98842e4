// The scales of grouped products: which granularity an argument has, and what of it a group takes.
//
// Of the card's modes: one a tensor, a row (token), a column (channel), a block of 1 x 128 of x and
// 128 x 128 of the weight, and the MX formats' power of two a run of 32.
// Source: aclnnGroupedMatmulV4 of CANN's ops-transformer, "Ascend 950PR".
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "ops/matmul/groups.h"
#include "ops/matmul/scaled_product.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {

// Elements of K, and of N, that share a scale of the fp8 formats' blocks.
inline constexpr std::int64_t kScaleBlock = 128;

// An argument that holds scales.
struct ScaleArgument {
  ArgumentName name;
  at::Tensor tensor = {};  // undefined: none
  bool mx = false;         // its bytes are E8M0
};

// Whether a scale's bytes are E8M0: by its own dtype, or as its dtype argument says.
[[nodiscard]] bool holds_e8m0(const at::Tensor& scale, std::optional<std::int64_t> dtype);

// A scale in fp32, also where it is packed into 64 bits.
[[nodiscard]] at::Tensor unpacked_scale(const at::Tensor& scale);

struct GroupedSizes {
  std::int64_t groups = 0;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
};

// The scales of x [m, k] and weight [groups, k, n], where groups are of rows.
struct RowGroupScales {
  at::Tensor a = {};     // [m or groups, runs of K or 1]; undefined: none
  bool a_by_row = true;  // else a row of `a` serves a group
  at::Tensor b = {};     // [groups, runs of K or 1, n or 1]; undefined: none
  std::int64_t group = 0;
  bool mx = false;

  [[nodiscard]] Scales of(const Span& span) const;
};

// Raises ValueError for shapes that are none of the modes, TypeError where x and weight are not
// scaled in the same manner.
[[nodiscard]] RowGroupScales row_group_scales(const ScaleArgument& a, const ScaleArgument& b,
                                              const GroupedSizes& sizes);

// The scales of x [m, k] and weight [k, n], where groups are of K.
struct KGroupScales {
  at::Tensor a = {};       // [groups, m or 1]; by runs of K: [runs, m]; MX: [pairs of runs, m, 2]
  at::Tensor b = {};       // [groups, n or 1]; by runs of K: [runs, n]; MX: [pairs of runs, n, 2]
  std::int64_t group = 0;  // elements of K in a run; 0: scales do not change along K
  bool mx = false;

  // Group g has its runs of its own: they begin at (elements of K before it) / run + g.
  [[nodiscard]] Scales of(const Span& span) const;
};
[[nodiscard]] KGroupScales k_group_scales(const ScaleArgument& a, const ScaleArgument& b,
                                          const GroupedSizes& sizes);

}  // namespace npu_sim::ops
