#include "ops/quant/mx.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "compute/format/e8m0.h"
#include "ops/format/coded.h"

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kPair = 2;
constexpr std::int64_t kGrain = 1 << 14;

std::int64_t blocks_of(std::int64_t columns, std::int64_t block) {
  return (columns + block - 1) / block;
}

// The largest magnitude; NaN if there is one.
float largest_magnitude(std::span<const float> values) {
  float most = 0;
  for (const float value : values) {
    if (std::isnan(value)) return value;
    most = std::max(most, std::abs(value));
  }
  return most;
}

float largest_of(const MxTarget& target) {
  return target.largest == 0 ? compute::largest(target.element)
                             : static_cast<float>(target.largest);
}

std::uint8_t scale_code(float most, const MxTarget& target) {
  if (!std::isfinite(most)) return compute::kE8m0Nan;
  most = std::max(most, static_cast<float>(target.low_bound));
  if (most == 0) return 0;
  if (target.scale == MxScale::kFloor) {
    return compute::e8m0_of_exponent(std::ilogb(most) - compute::largest_exponent(target.element));
  }
  int exponent = 0;
  const float mantissa = std::frexp(most / largest_of(target), &exponent);
  return compute::e8m0_of_exponent(mantissa == 0.5F ? exponent - 1 : exponent);
}

// Scales one row in place and writes its scale codes.
void scale_row(std::span<float> row, const MxTarget& target, std::uint8_t* scales) {
  const auto block = static_cast<std::size_t>(target.block);
  for (std::size_t first = 0; first < row.size(); first += block, ++scales) {
    const std::span<float> part = row.subspan(first, std::min(block, row.size() - first));
    *scales = scale_code(largest_magnitude(part), target);
    const float scale = compute::decode_e8m0(*scales);
    for (float& value : part) value /= scale;
  }
}

void scale_rows(const at::Tensor& rows, const MxTarget& target, const at::Tensor& scales) {
  const std::int64_t columns = rows.size(-1);
  const std::int64_t stride = scales.size(-1);
  float* const values = rows.mutable_data_ptr<float>();
  auto* const codes = scales.mutable_data_ptr<std::uint8_t>();
  const std::int64_t grain = std::max<std::int64_t>(kGrain / columns, 1);
  at::parallel_for(0, rows.numel() / columns, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      scale_row({values + row * columns, static_cast<std::size_t>(columns)}, target,
                codes + row * stride);
    }
  });
}

}  // namespace

Quantized mx_quantize(const char* op, const at::Tensor& values, const MxTarget& target) {
  const std::int64_t axis = target.axis < 0 ? target.axis + values.dim() : target.axis;
  TORCH_CHECK_INDEX(axis >= 0 && axis < values.dim(), op, ": expected axis in [", -values.dim(),
                    ", ", values.dim() - 1, "], got ", target.axis);
  // A copy of its own, as its rows are scaled in place.
  const at::Tensor rows =
      at::empty(values.movedim(axis, -1).sizes(), values.options().dtype(at::kFloat));
  rows.copy_(values.movedim(axis, -1));
  std::vector<std::int64_t> sizes = rows.sizes().vec();
  sizes.back() = blocks_of(blocks_of(rows.size(-1), target.block), kPair) * kPair;
  const at::Tensor scales = at::zeros(sizes, values.options().dtype(at::kByte));
  if (!values.is_meta() && values.numel() > 0) scale_rows(rows, target, scales);
  // Packed codes are pairs along the last axis of `values`, whatever the axis of the blocks.
  const at::Tensor codes =
      encoded(op, rows.movedim(-1, axis).contiguous(), target.element, target.rounding);
  const at::Tensor pairs = scales.unflatten(-1, {sizes.back() / kPair, kPair});
  return {.codes = codes, .scale = pairs.movedim(-2, axis).contiguous()};
}

Quantized mx_quantize_groups(const char* op, const at::Tensor& values, const MxTarget& target,
                             const RowGroups& groups, MxGroupScales places) {
  MxTarget by_rows = target;
  by_rows.axis = 0;
  const std::int64_t pair = target.block * kPair;
  const at::Tensor none = mx_quantize(op, values.narrow(0, 0, 0), by_rows).codes;
  at::Tensor codes = at::zeros({values.size(0), none.size(1)}, none.options());
  at::Tensor scales = at::zeros({values.size(0) / pair + groups.count, values.size(1), kPair},
                                values.options().dtype(at::kByte));
  if (values.is_meta()) return {.codes = codes, .scale = scales};
  std::int64_t dense = 0;
  for (std::int64_t group = 0; group < groups.count; ++group) {
    const std::int64_t begin = groups.begin(group);
    const std::int64_t rows = groups.rows(group);
    if (rows == 0) continue;
    const Quantized part = mx_quantize(op, values.narrow(0, begin, rows), by_rows);
    const std::int64_t first = places == MxGroupScales::kDense ? dense : begin / pair + group;
    codes.narrow(0, begin, rows).copy_(part.codes);
    scales.narrow(0, first, part.scale.size(0)).copy_(part.scale);
    dense += part.scale.size(0);
  }
  return {.codes = codes, .scale = scales};
}

}  // namespace npu_sim::ops
