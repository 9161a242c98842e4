// The operands of npu_grouped_matmul: which form of product a call asks for, and one group of it.
//
// Forms (A: bits of x, W: bits of weight), all summed and scaled in fp32 and rounded once:
//   wide       x @ w + bias
//   weight     x @ ((w + antiquant_offset) * antiquant_scale) + bias           A16W8, A16W4
//   scaled     (x @ w [+ int32 bias]) * scale * per_token_scale [+ bias]       A8W8, A4W4, MX
//   refined    ((x @ (w * antiquant_scale)) * scale * per_token_scale + bias   A8W4, int8 by int4
//   shifted    ((x - 8) @ (w * scale) + bias) * per_token_scale                A8W4, int8 by int4
// The last is how the card multiplies int8 by int4 in two halves of 4 bits: its bias holds the
// 8 * sum over k of (w * scale) that the shift leaves out.
// Source: aclnnGroupedMatmulV4 and aclnnGroupedMatmulWeightNz of CANN's ops-transformer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "ops/matmul/grouped_scales.h"
#include "ops/matmul/groups.h"
#include "ops/matmul/scaled_product.h"

namespace npu_sim::ops {

using Tensors = std::optional<at::TensorList>;

[[nodiscard]] inline bool given(const Tensors& tensors) {
  return tensors.has_value() && !tensors->empty();
}

// A tensor and what `dtype` says of its bytes; 32 bits that are no operand of their own hold eight
// codes of 4 bits: int4 in int32, fp4 (E2M1) in float32. Raises TypeError where neither dtype nor
// tensor says what the codes are.
[[nodiscard]] Coded coded_operand(ArgumentName name, const at::Tensor& tensor,
                                  std::optional<std::int64_t> dtype);
[[nodiscard]] Coded coded_weight(ArgumentName name, const at::Tensor& weight,
                                 std::optional<std::int64_t> dtype, const Coded& x);

// Raises TypeError unless the card multiplies codes of the two formats.
void check_multiplied(const char* op, const Coded& x, const Coded& weight);

// Part of a matrix along an axis that its codes are not packed along.
[[nodiscard]] inline Coded narrowed(const Coded& matrix, std::int64_t axis, const Span& span) {
  return {.codes = matrix.codes.narrow(axis, span.first, span.size), .element = matrix.element};
}

// The matrices of all groups: one tensor [groups, k, n], or a list of [k, n].
class Matrices {
 public:
  // Raises ValueError, as by `name`, for other shapes and for no group at all.
  Matrices(ArgumentName name, at::TensorList tensors, std::optional<std::int64_t> dtype,
           const Coded& x);

  [[nodiscard]] std::int64_t groups() const;
  [[nodiscard]] bool in_one_tensor() const { return all_[0].codes.dim() == 3; }
  [[nodiscard]] const Coded& first() const { return all_[0]; }
  [[nodiscard]] Coded of(std::int64_t group) const;
  // Numbers of a matrix along axis -2 (k) or -1 (n).
  [[nodiscard]] std::int64_t size(std::int64_t axis, std::int64_t group = 0) const {
    return numbers_along(of(group), axis);
  }

 private:
  std::vector<Coded> all_;
};

// Rows of x by the matrices of their groups in fp32, [m, n]; `bias` (undefined: none) is [groups,
// n] of floats.
struct RowProduct {
  const Coded& x;
  const Matrices& weight;
  const RowGroupScales& scales;
  at::Tensor bias = {};
};
[[nodiscard]] at::Tensor product_by_rows(const RowProduct& operands, const GroupSpans& spans);

// The tensors of a call.
struct GroupedArguments {
  const char* op;
  at::TensorList x;
  at::TensorList weight;
  Tensors bias = std::nullopt;
  Tensors scale = std::nullopt;
  Tensors antiquant_scale = std::nullopt;
  Tensors antiquant_offset = std::nullopt;
  Tensors per_token_scale = std::nullopt;
  std::optional<std::int64_t> x_dtype = std::nullopt;
  std::optional<std::int64_t> weight_dtype = std::nullopt;
  std::optional<std::int64_t> scale_dtype = std::nullopt;
  std::optional<std::int64_t> per_token_scale_dtype = std::nullopt;
};

enum class GroupedForm : std::uint8_t { kWide, kWeight, kScaled, kRefined, kShifted };

class GroupedOperands {
 public:
  // Groups of rows, or of none. Raises TypeError for dtypes that the card does not combine,
  // ValueError for arguments that do not fit together.
  explicit GroupedOperands(const GroupedArguments& arguments);

  [[nodiscard]] const char* op() const { return arguments_.op; }
  [[nodiscard]] std::int64_t groups() const { return weight_.groups(); }
  [[nodiscard]] const std::vector<Coded>& x() const { return x_; }
  [[nodiscard]] GroupedForm form() const { return form_; }
  // Whether x and the weights are int8, the one form that the card applies an activation to.
  [[nodiscard]] bool is_int8() const;
  // Columns of the product of `group`.
  [[nodiscard]] std::int64_t columns(std::int64_t group) const { return weight_.size(-1, group); }

  // `rows` [.., k] by the matrix of the span's group, with its bias, in fp32: [.., n].
  [[nodiscard]] at::Tensor product(const Coded& rows, const Span& span) const;

 private:
  [[nodiscard]] at::Tensor of_group(const Tensors& list, std::int64_t group) const;
  [[nodiscard]] GroupedForm form_of() const;
  [[nodiscard]] GroupedSizes sizes() const;
  void check_formats() const;
  void check_lists() const;
  void check_bias() const;
  void check_one_tensor_each() const;
  void set_scales();
  [[nodiscard]] at::Tensor antiquantised_weight(const Span& span, at::ScalarType dtype) const;
  [[nodiscard]] at::Tensor scaled(const Coded& rows, const Span& span) const;
  [[nodiscard]] at::Tensor refined(const Coded& rows, const Span& span) const;
  [[nodiscard]] at::Tensor shifted(const Coded& rows, const Span& span) const;

  GroupedArguments arguments_;
  std::vector<Coded> x_;
  Matrices weight_;
  GroupedForm form_;
  RowGroupScales scales_;
};

}  // namespace npu_sim::ops
