#include "ops/matmul/scaled_product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp2.h>
#include <ATen/ops/log2.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "ops/format/coded.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

// Integers up to this are exact in fp32.
constexpr std::int64_t kExactInFp32 = std::int64_t{1} << 24;

std::int64_t largest_magnitude(Element element) {
  return std::int64_t{1} << (compute::bits(element) - 1);
}

// Runs of K whose sums fp32 holds exactly: its product is tens of times faster than that of
// integers.
at::Tensor integer_product(const at::Tensor& a, const at::Tensor& b, std::int64_t run) {
  const std::int64_t k = a.size(-1);
  at::Tensor sum;
  for (std::int64_t first = 0; first == 0 || first < k; first += run) {
    const std::int64_t length = std::min(run, k - first);
    const at::Tensor part = at::matmul(a.narrow(-1, first, length).to(at::kFloat),
                                       b.narrow(-2, first, length).to(at::kFloat))
                                .to(at::kInt);
    sum = sum.defined() ? sum.add_(part) : part;
  }
  return sum;
}

bool of_integers(const Coded& a, const Coded& b) {
  return a.element.has_value() && b.element.has_value() && is_integer(*a.element) &&
         is_integer(*b.element);
}

// Runs of the integer product of a and b; 0 where they are not integers.
std::int64_t exact_run(const Coded& a, const Coded& b) {
  if (!of_integers(a, b)) return 0;
  return kExactInFp32 / (largest_magnitude(*a.element) * largest_magnitude(*b.element));
}

at::Tensor product_of_values(const at::Tensor& a, const at::Tensor& b, std::int64_t run) {
  if (a.is_meta() || run == 0) return at::matmul(a.to(at::kFloat), b.to(at::kFloat));
  return integer_product(a, b, run);
}

at::Tensor scaled(at::Tensor sums, const at::Tensor& a, const at::Tensor& b) {
  if (b.defined()) sums = sums.mul_(b);
  if (a.defined()) sums = sums.mul_(a);
  return sums;
}

// Group `index` of a scale; one of a single group serves all.
at::Tensor of_group(const at::Tensor& scale, std::int64_t axis, std::int64_t index) {
  if (!scale.defined() || scale.size(axis) == 1) return scale;
  return scale.narrow(axis, index, 1);
}

at::Tensor sum_of_groups(const Coded& a, const Coded& b, const Scales& scales) {
  const at::Tensor rows = values_of(a);
  const at::Tensor columns = values_of(b);
  const std::int64_t run = exact_run(a, b);
  const std::int64_t k = rows.size(-1);
  at::Tensor sum;
  for (std::int64_t first = 0, group = 0; first < k; first += scales.group, ++group) {
    const std::int64_t length = std::min(scales.group, k - first);
    const at::Tensor part = scaled(
        product_of_values(rows.narrow(-1, first, length), columns.narrow(-2, first, length), run)
            .to(at::kFloat),
        of_group(scales.a, -1, group), of_group(scales.b, -2, group));
    sum = sum.defined() ? sum.add_(part) : part;
  }
  return sum.defined() ? sum : at::matmul(rows.to(at::kFloat), columns.to(at::kFloat));
}

// Factors of a row or column relative to its largest, so that no operand leaves the range of fp32,
// and the exponent of the largest.
struct Relative {
  at::Tensor factors;
  at::Tensor exponent;
};

Relative relative(const at::Tensor& factors, std::int64_t axis) {
  const at::Tensor largest = factors.amax(axis, true);
  return {.factors = factors / largest, .exponent = at::log2(largest).round()};
}

// Times 2^exponent in two steps: 2^exponent itself may lie beyond fp32.
at::Tensor shifted(at::Tensor sums, const at::Tensor& exponent) {
  const at::Tensor half = (exponent / 2).floor();
  return sums.mul_(at::exp2(half)).mul_(at::exp2(exponent - half));
}

at::Tensor mx_product(const Coded& a, const Coded& b, const Scales& scales) {
  const at::Tensor rows = values_of(a);
  const at::Tensor columns = values_of(b);
  const std::int64_t k = rows.size(-1);
  if (k == 0) return at::matmul(rows, columns);
  const Relative of_rows = relative(scales.a, -1);
  const Relative of_columns = relative(scales.b, -2);
  const at::Tensor sums =
      at::matmul(rows * of_each_element(of_rows.factors, -1, scales.group, k),
                 columns * of_each_element(of_columns.factors, -2, scales.group, k));
  return shifted(sums, of_rows.exponent + of_columns.exponent);
}

at::Tensor mx_factors(ArgumentName name, const at::Tensor& codes,
                      const std::vector<std::int64_t>& expected) {
  TORCH_CHECK_TYPE(c10::elementSize(codes.scalar_type()) == 1, name.op, ": expected ",
                   name.argument, " of float8_e8m0fnu (8 bits), got ", codes.scalar_type());
  const bool fits = codes.dim() >= 3 && codes.sizes().slice(static_cast<std::size_t>(codes.dim()) -
                                                            3) == at::IntArrayRef(expected);
  TORCH_CHECK_VALUE(fits, name.op, ": expected ", name.argument, " of [.., ", expected[0], ", ",
                    expected[1], ", 2], got ", codes.sizes());
  return decoded_e8m0(codes);
}

std::int64_t pairs_of(std::int64_t k) { return (k + 2 * kMxGroup - 1) / (2 * kMxGroup); }
std::int64_t groups_of(std::int64_t k) { return (k + kMxGroup - 1) / kMxGroup; }

}  // namespace

std::int64_t numbers_along(const Coded& matrix, std::int64_t axis) {
  const std::int64_t size = matrix.codes.size(axis);
  if (!matrix.element.has_value()) return size;
  const std::int64_t whole = axis < 0 ? axis + matrix.codes.dim() : axis;
  if (packed_axis(matrix.codes) != whole) return size;
  return size * codes_per_item(*matrix.element, matrix.codes.scalar_type());
}

at::Tensor values_of(const Coded& matrix) {
  if (!matrix.element.has_value()) return widened(matrix.codes);
  if (*matrix.element == Element::kInt8) return matrix.codes;
  return decoded(matrix.codes, *matrix.element);
}

at::Tensor unscaled_product(const Coded& a, const Coded& b) {
  return product_of_values(values_of(a), values_of(b), exact_run(a, b));
}

at::Tensor scaled_product(const Coded& a, const Coded& b, const Scales& scales,
                          const at::Tensor& bias) {
  if (scales.powers_of_two) return mx_product(a, b, scales);
  const bool one_group = scales.group == 0 || scales.group >= numbers_along(a, -1);
  if (!one_group) return sum_of_groups(a, b, scales);
  at::Tensor sums = unscaled_product(a, b);
  if (bias.defined()) sums = sums + bias.to(sums.scalar_type());
  return scaled(sums.to(at::kFloat), scales.a, scales.b);
}

at::Tensor mx_factors_of_rows(ArgumentName name, const at::Tensor& codes, std::int64_t m,
                              std::int64_t k) {
  return mx_factors(name, codes, {m, pairs_of(k), 2}).flatten(-2).narrow(-1, 0, groups_of(k));
}

at::Tensor mx_factors_of_columns(ArgumentName name, const at::Tensor& codes, std::int64_t k,
                                 std::int64_t n) {
  const at::Tensor factors = mx_factors(name, codes, {pairs_of(k), n, 2});
  return factors.transpose(-1, -2).flatten(-3, -2).narrow(-2, 0, groups_of(k));
}

at::Tensor of_each_element(const at::Tensor& scale, std::int64_t axis, std::int64_t block,
                           std::int64_t size) {
  return scale.repeat_interleave(block, axis).narrow(axis, 0, size);
}

at::Tensor antiquantised(const Coded& weight, const at::Tensor& scale, const at::Tensor& offset,
                         std::int64_t group) {
  const at::Tensor values = values_of(weight).to(at::kFloat);
  const std::int64_t k = values.size(-2);
  const auto spread = [&](const at::Tensor& each) {
    const bool grouped = group > 0 && each.dim() >= 2 && each.size(-2) > 1;
    return grouped ? of_each_element(widened(each), -2, group, k) : widened(each);
  };
  const at::Tensor shifted = offset.defined() ? values + spread(offset) : values;
  return scale.defined() ? shifted * spread(scale) : shifted;
}

}  // namespace npu_sim::ops
