#include "ops/matmul/grouped_scales.h"

#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

#include "ops/format/coded.h"
#include "ops/matmul/packed_scale.h"
#include "ops/matmul/product_arguments.h"

namespace npu_sim::ops {
namespace {

std::int64_t ceil_div(std::int64_t size, std::int64_t block) { return (size + block - 1) / block; }

bool has_sizes(const at::Tensor& tensor, at::IntArrayRef sizes) { return tensor.sizes() == sizes; }

void check_float(const ScaleArgument& scale) {
  const at::ScalarType dtype = scale.tensor.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf ||
                       is_packed(scale.tensor),
                   scale.name.op, ": expected ", scale.name.argument,
                   " of float32, bfloat16, int64 (packed) or float8_e8m0fnu, got ", dtype);
}

// E8M0 codes in pairs or one by one: [.., ceil(k / 64), n, 2] or [.., ceil(k / 32), n].
at::Tensor mx_columns(const ScaleArgument& scale, const GroupedSizes& sizes) {
  const at::Tensor& codes = scale.tensor;
  const std::int64_t runs = ceil_div(sizes.k, kMxGroup);
  if (has_sizes(codes, {sizes.groups, runs, sizes.n})) return decoded_e8m0(codes);
  TORCH_CHECK_VALUE(codes.dim() == 4 && codes.size(0) == sizes.groups, scale.name.op, ": expected ",
                    scale.name.argument, " of [", sizes.groups, ", ",
                    ceil_div(sizes.k, 2 * kMxGroup), ", ", sizes.n, ", 2], got ", codes.sizes());
  return mx_factors_of_columns(scale.name, codes, sizes.k, sizes.n);
}

at::Tensor mx_rows(const ScaleArgument& scale, const GroupedSizes& sizes) {
  const at::Tensor& codes = scale.tensor;
  if (has_sizes(codes, {sizes.m, ceil_div(sizes.k, kMxGroup)})) return decoded_e8m0(codes);
  return mx_factors_of_rows(scale.name, codes, sizes.m, sizes.k);
}

void check_both_mx(const ScaleArgument& a, const ScaleArgument& b) {
  TORCH_CHECK_TYPE(a.tensor.defined() && a.mx && b.tensor.defined() && b.mx, b.name.op,
                   ": expected ", b.name.argument, " and ", a.name.argument,
                   " both of float8_e8m0fnu, got ",
                   b.tensor.defined() ? c10::toString(b.tensor.scalar_type()) : "None", " and ",
                   a.tensor.defined() ? c10::toString(a.tensor.scalar_type()) : "None");
}

// [groups, runs or 1, n or 1] of a scale that is no power of two.
at::Tensor columns_of(const ScaleArgument& scale, const GroupedSizes& sizes) {
  check_float(scale);
  const at::Tensor factors = unpacked_scale(scale.tensor);
  if (has_sizes(factors, {sizes.groups}) || has_sizes(factors, {sizes.groups, 1})) {
    return factors.reshape({sizes.groups, 1, 1});
  }
  if (has_sizes(factors, {sizes.groups, sizes.n})) return factors.unsqueeze(1);
  const std::int64_t runs = ceil_div(sizes.k, kScaleBlock);
  const std::int64_t blocks = ceil_div(sizes.n, kScaleBlock);
  TORCH_CHECK_VALUE(has_sizes(factors, {sizes.groups, runs, blocks}), scale.name.op, ": expected ",
                    scale.name.argument, " of [", sizes.groups, ", ", sizes.n, "] (a column), [",
                    sizes.groups, "] (a tensor) or [", sizes.groups, ", ", runs, ", ", blocks,
                    "] (blocks of 128), got ", factors.sizes());
  return of_each_element(factors, -1, kScaleBlock, sizes.n);
}

// Whether `columns` are those of blocks: then x has a scale a run of 128 as well.
bool is_by_block(const ScaleArgument& scale) {
  return scale.tensor.defined() && scale.tensor.dim() == 3;
}

void set_rows(RowGroupScales& scales, const ScaleArgument& a, const GroupedSizes& sizes,
              bool by_block) {
  const at::Tensor factors = a.tensor.to(at::kFloat);
  const std::int64_t runs = ceil_div(sizes.k, kScaleBlock);
  if (by_block) {
    TORCH_CHECK_VALUE(has_sizes(factors, {sizes.m, runs}), a.name.op, ": expected ",
                      a.name.argument, " of [", sizes.m, ", ", runs,
                      "] (runs of 128) where the weight has blocks, got ", factors.sizes());
    scales.a = factors;
    return;
  }
  if (has_sizes(factors, {sizes.m}) || has_sizes(factors, {sizes.m, 1})) {
    scales.a = factors.reshape({sizes.m, 1});
    // Of [groups, 1] with as many groups as rows the card makes a scale a group.
    scales.a_by_row = factors.dim() == 1 || sizes.m != sizes.groups;
    return;
  }
  TORCH_CHECK_VALUE(has_sizes(factors, {sizes.groups}) || has_sizes(factors, {sizes.groups, 1}),
                    a.name.op, ": expected ", a.name.argument, " of [", sizes.m, "] (a row) or [",
                    sizes.groups, "] (a group), got ", factors.sizes());
  scales.a = factors.reshape({sizes.groups, 1});
  scales.a_by_row = false;
}

// A scale of K's groups with the runs first, as the card has it, or last but one, as a view that is
// turned with x: [runs, m, ..].
at::Tensor runs_first(const ScaleArgument& scale, std::int64_t runs, std::int64_t columns) {
  const at::Tensor& tensor = scale.tensor;
  const bool pairs = scale.mx;
  const std::int64_t axes = pairs ? 3 : 2;
  const bool fits_end = tensor.dim() == axes && (!pairs || tensor.size(2) == 2);
  if (fits_end && tensor.size(0) == columns && tensor.size(1) == runs) {
    return tensor.transpose(0, 1);
  }
  TORCH_CHECK_VALUE(fits_end && tensor.size(0) == runs && tensor.size(1) == columns, scale.name.op,
                    ": expected ", scale.name.argument, " of [", runs, ", ", columns,
                    pairs ? ", 2" : "", "], got ", tensor.sizes());
  return tensor;
}

// [groups, columns or 1] of a scale that does not change along K.
at::Tensor of_k_groups(const ScaleArgument& scale, std::int64_t groups, std::int64_t columns) {
  check_float(scale);
  const at::Tensor factors = unpacked_scale(scale.tensor);
  const bool one = has_sizes(factors, {groups}) || has_sizes(factors, {groups, 1});
  TORCH_CHECK_VALUE(one || has_sizes(factors, {groups, columns}), scale.name.op, ": expected ",
                    scale.name.argument, " of [", groups, ", ", columns, "] or [", groups,
                    "], got ", factors.sizes());
  return one ? factors.reshape({groups, 1}) : factors;
}

// Blocks of 128 along K and N: [k / 128 + groups, ceil(n / 128)].
bool is_k_blocks(const ScaleArgument& b, const GroupedSizes& sizes) {
  return has_sizes(b.tensor,
                   {sizes.k / kScaleBlock + sizes.groups, ceil_div(sizes.n, kScaleBlock)});
}

at::Tensor runs_of(const at::Tensor& all, const Span& span, std::int64_t run) {
  return all.narrow(0, span.first / run + span.group, ceil_div(span.size, run));
}

}  // namespace

bool holds_e8m0(const at::Tensor& scale, std::optional<std::int64_t> dtype) {
  return scale.defined() && is_e8m0_scale(scale, dtype);
}

at::Tensor unpacked_scale(const at::Tensor& scale) {
  return is_packed(scale) ? factors_of(scale) : scale.to(at::kFloat);
}

Scales RowGroupScales::of(const Span& span) const {
  Scales scales{.group = group, .powers_of_two = mx};
  if (a.defined()) {
    scales.a = a_by_row ? a.narrow(0, span.first, span.size) : a.narrow(0, span.group, 1);
  }
  if (b.defined()) scales.b = b.select(0, span.group);
  return scales;
}

RowGroupScales row_group_scales(const ScaleArgument& a, const ScaleArgument& b,
                                const GroupedSizes& sizes) {
  TORCH_CHECK_VALUE(sizes.k > 0, b.name.op, ": expected k of 1 or more, got 0");
  if (a.mx || b.mx) {
    check_both_mx(a, b);
    return {.a = mx_rows(a, sizes), .b = mx_columns(b, sizes), .group = kMxGroup, .mx = true};
  }
  RowGroupScales scales;
  if (b.tensor.defined()) scales.b = columns_of(b, sizes);
  const bool by_block = is_by_block(b);
  TORCH_CHECK_VALUE(!by_block || a.tensor.defined(), a.name.op, ": expected ", a.name.argument,
                    " where ", b.name.argument, " has blocks of 128, got None");
  if (by_block) scales.group = kScaleBlock;
  if (!a.tensor.defined()) return scales;
  TORCH_CHECK_TYPE(a.tensor.scalar_type() == at::kFloat, a.name.op, ": expected ", a.name.argument,
                   " of float32 or float8_e8m0fnu, got ", a.tensor.scalar_type());
  set_rows(scales, a, sizes, by_block);
  return scales;
}

Scales KGroupScales::of(const Span& span) const {
  Scales scales{.group = group, .powers_of_two = mx};
  if (mx) {
    const at::Tensor rows = runs_of(a, span, 2 * kMxGroup).transpose(0, 1);
    const at::Tensor columns = runs_of(b, span, 2 * kMxGroup);
    const std::int64_t runs = ceil_div(span.size, kMxGroup);
    scales.a = decoded_e8m0(rows).flatten(-2).narrow(-1, 0, runs);
    scales.b = decoded_e8m0(columns).transpose(-1, -2).flatten(0, 1).narrow(0, 0, runs);
    return scales;
  }
  if (group > 0) {
    scales.a = runs_of(a, span, group).t();
    scales.b = runs_of(b, span, group);
    return scales;
  }
  if (a.defined()) scales.a = a.select(0, span.group).unsqueeze(-1);
  if (b.defined()) scales.b = b.select(0, span.group).unsqueeze(0);
  return scales;
}

KGroupScales k_group_scales(const ScaleArgument& a, const ScaleArgument& b,
                            const GroupedSizes& sizes) {
  if (a.mx || b.mx) {
    check_both_mx(a, b);
    const std::int64_t pairs = sizes.k / (2 * kMxGroup) + sizes.groups;
    return {.a = runs_first(a, pairs, sizes.m),
            .b = runs_first(b, pairs, sizes.n),
            .group = kMxGroup,
            .mx = true};
  }
  const bool by_block = b.tensor.defined() && a.tensor.defined() && is_k_blocks(b, sizes);
  if (by_block) {
    const std::int64_t runs = sizes.k / kScaleBlock + sizes.groups;
    check_float(a);
    check_float(b);
    return {.a = runs_first(a, runs, sizes.m).to(at::kFloat),
            .b = of_each_element(b.tensor.to(at::kFloat), -1, kScaleBlock, sizes.n),
            .group = kScaleBlock};
  }
  KGroupScales scales;
  if (a.tensor.defined()) scales.a = of_k_groups(a, sizes.groups, sizes.m);
  if (b.tensor.defined()) scales.b = of_k_groups(b, sizes.groups, sizes.n);
  return scales;
}

}  // namespace npu_sim::ops
