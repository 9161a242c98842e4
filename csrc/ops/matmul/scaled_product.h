// Products of coded matrices and the scales around them: what the quantised products have in
// common. All of it answers meta tensors with shapes alone.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "compute/format/element.h"
#include "ops/format/element_of.h"

namespace npu_sim::ops {

// A matrix of codes, or a batch of them: [.., rows, columns] once decoded. Packed codes lie along
// the axis of stride 1.
struct Coded {
  at::Tensor codes;
  std::optional<compute::Element> element;  // nullopt: the tensor holds wide floats
};

// Elements of K that share a scale in the MX formats.
inline constexpr std::int64_t kMxGroup = 32;

[[nodiscard]] inline bool is_integer(compute::Element element) {
  return element == compute::Element::kInt8 || element == compute::Element::kInt4;
}

// How many numbers lie along `axis` (negative counts from the end).
[[nodiscard]] std::int64_t numbers_along(const Coded& matrix, std::int64_t axis);

// The values: int8 codes as they are, anything else in fp32.
[[nodiscard]] at::Tensor values_of(const Coded& matrix);

// a @ b as torch.matmul broadcasts it. Of two integer formats the exact int32 (sums beyond it
// wrap); else fp32 sums of exact products.
[[nodiscard]] at::Tensor unscaled_product(const Coded& a, const Coded& b);

// What the decoded numbers are multiplied by, in fp32. A group is a run of K; the last may be
// shorter.
struct Scales {
  at::Tensor a{};              // [.., m or 1, groups or 1]; undefined: none
  at::Tensor b{};              // [.., groups or 1, n or 1]; undefined: none
  std::int64_t group = 0;      // numbers of K in a group; 0: all of them
  bool powers_of_two = false;  // of the MX formats: both are multiplied into the operands, exactly
};

// sum over groups of (a_g @ b_g) * scales.b[g, :] * scales.a[:, g], in fp32. `bias` (undefined:
// none) is added to the sums before they are scaled, in their dtype; only where K is one group.
[[nodiscard]] at::Tensor scaled_product(const Coded& a, const Coded& b, const Scales& scales,
                                        const at::Tensor& bias = {});

// E8M0 codes in pairs, [.., m, ceil(k / 64), 2], as factors [.., m, ceil(k / 32)]. The second half
// of an odd last pair is dropped. Raises ValueError, as by `name`, on another shape, TypeError on
// codes wider than a byte.
[[nodiscard]] at::Tensor mx_factors_of_rows(ArgumentName name, const at::Tensor& codes,
                                            std::int64_t m, std::int64_t k);

// The same of a right operand: [.., ceil(k / 64), n, 2] as [.., ceil(k / 32), n].
[[nodiscard]] at::Tensor mx_factors_of_columns(ArgumentName name, const at::Tensor& codes,
                                               std::int64_t k, std::int64_t n);

// Scales of blocks, [.., ceil(size / block), ..] along `axis`, as scales of each of the `size`
// elements.
[[nodiscard]] at::Tensor of_each_element(const at::Tensor& scale, std::int64_t axis,
                                         std::int64_t block, std::int64_t size);

// (weight + offset) * scale in fp32 for weight [.., k, n]; both of one number, [n], [1, n] or [..,
// ceil(k / group), n]; either may be undefined.
[[nodiscard]] at::Tensor antiquantised(const Coded& weight, const at::Tensor& scale,
                                       const at::Tensor& offset, std::int64_t group);

}  // namespace npu_sim::ops
