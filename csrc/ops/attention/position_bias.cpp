#include "ops/attention/position_bias.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "ops/attention/float_rows.h"

namespace npu_sim::ops {
namespace {

bool is_one_of(std::int64_t size, std::initializer_list<std::int64_t> sizes) {
  return std::ranges::find(sizes, size) != sizes.end();
}

}  // namespace

void PositionBias::check(const Expected& expected) const {
  const auto& [op, dtype, batch, heads, queries, keys] = expected;
  TORCH_CHECK_VALUE(type >= 0 && type <= 3, op, ": expected pse_type from 0 to 3, got ", type);
  if (is_slopes()) {
    TORCH_CHECK_TYPE(values.scalar_type() == at::kFloat, op,
                     ": expected pse of float32, slopes, for pse_type ", type, ", got ",
                     values.scalar_type());
    TORCH_CHECK_VALUE(values.sizes() == at::IntArrayRef({heads}) ||
                          values.sizes() == at::IntArrayRef({batch, heads}),
                      op, ": expected pse of [", heads, "] or [", batch, ", ", heads,
                      "] for pse_type ", type, ", got ", values.sizes());
    TORCH_CHECK_VALUE(queries == keys, op, ": expected as many queries as keys for pse_type ", type,
                      ", got ", queries, " and ", keys);
    return;
  }
  TORCH_CHECK_TYPE(values.scalar_type() == dtype, op, ": expected pse of query's ", dtype, ", got ",
                   values.scalar_type());
  const bool fits =
      values.dim() == 4 && is_one_of(values.size(0), {batch, 1}) && values.size(1) == heads &&
      values.size(3) == keys &&
      (is_one_of(values.size(2), {queries, 1}) ||
       (values.size(2) == kCompressedRows && queries > kCompressedRows && queries == keys));
  TORCH_CHECK_VALUE(fits, op, ": expected pse of [", batch, " or 1, ", heads, ", ", queries,
                    " or 1, ", keys, "], or 1024 rows of it for more queries, got ",
                    values.sizes());
}

PositionBias::Row PositionBias::row_of(std::int64_t sequence, std::int64_t head,
                                       std::int64_t query) const {
  const std::int64_t rows = values.size(2);
  const std::int64_t keys = values.size(3);
  const std::int64_t start =
      (is_shared() ? 0 : sequence * values.stride(0)) + head * values.stride(1);
  if (rows == 1) return {start, 0, keys};
  // Of an alibi, the row a multiple of 1024 queries later has the same distances as many keys
  // later.
  const std::int64_t to_last = compressed ? keys - 1 - query : rows - 1 - query;
  const std::int64_t row = rows - 1 - to_last % rows;
  const std::int64_t shift = to_last / rows * rows;
  return {start + row * values.stride(2) + shift, -shift, keys - shift};
}

void PositionBias::fill_slopes(std::int64_t sequence, const flash::Area& area, float* to) const {
  const auto* const slopes = values.const_data_ptr<float>();
  const std::int64_t heads = values.size(-1);
  const float slope = -slopes[(values.dim() == 2 ? sequence * heads : 0) + area.head];
  for (std::int64_t i = 0; i < area.queries; ++i) {
    const std::int64_t position = area.query + i + query_start - key_start - area.key;
    for (std::int64_t j = 0; j < area.keys; ++j) {
      const auto distance = static_cast<float>(std::abs(j - position));
      to[i * area.keys + j] = slope * (type == kRootSlopes ? std::sqrt(distance) : distance);
    }
  }
}

flash::Bias PositionBias::bias_of(std::int64_t sequence, std::int64_t head, double scale) const {
  if (!values.defined()) return {};
  if (is_slopes()) {
    return {.rows = [this, sequence, head](const flash::Area& area, float* scratch) {
      flash::Area own = area;
      own.head += head;
      fill_slopes(sequence, own, scratch);
      return flash::Rows{scratch, area.keys};
    }};
  }
  const flash::Strided data{.data = values.const_data_ptr(), .dtype = values.scalar_type()};
  const auto rows = [this, sequence, head, data](const flash::Area& area, float* scratch) {
    const std::int64_t count = values.size(2) == 1 ? 1 : area.queries;
    for (std::int64_t i = 0; i < count; ++i) {
      const Row row = row_of(sequence, head + area.head, area.query + i);
      const std::int64_t first = std::clamp(row.first_key, area.key, area.key + area.keys);
      const std::int64_t last = std::clamp(row.last_key, first, area.key + area.keys);
      float* const to = scratch + i * area.keys;
      std::fill(to, to + area.keys, 0.0F);
      flash::widen(data.moved(row.start + first).data, data.dtype, last - first,
                   to + first - area.key);
    }
    return flash::Rows{scratch, count == 1 ? 0 : area.keys};
  };
  return {.rows = rows, .factor = type == kAddThenScale ? static_cast<float>(scale) : 1};
}

PositionBias::TakeGradient PositionBias::gradient_of(std::int64_t sequence, std::int64_t head,
                                                     const at::Tensor& gradient) const {
  if (!values.defined() || is_slopes()) return {};
  auto* const to = gradient.mutable_data_ptr<float>();
  return
      [this, sequence, head, to](const flash::Area& area, const float* rows, std::int64_t stride) {
        for (std::int64_t i = 0; i < area.queries; ++i) {
          const Row row = row_of(sequence, head + area.head, area.query + i);
          const std::int64_t first = std::clamp(row.first_key, area.key, area.key + area.keys);
          const std::int64_t last = std::clamp(row.last_key, first, area.key + area.keys);
          flash::add(to + row.start + first, rows + i * stride + first - area.key, 1, last - first);
        }
      };
}

}  // namespace npu_sim::ops
