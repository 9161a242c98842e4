#include "ops/attention/kv_rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>

#include "ops/format/coded.h"

namespace npu_sim::ops {
namespace {

// Codes as bytes: not every operator of ATen knows the narrow dtypes.
at::Tensor as_bytes(const at::Tensor& tensor) {
  return tensor.defined() && tensor.element_size() == 1 ? tensor.view(at::kByte) : tensor;
}

// Codes in fp32; int8 by ATen's conversion, which is vectorised.
at::Tensor values_of(const at::Tensor& codes, compute::Element element) {
  if (element == compute::Element::kInt8) return codes.view(at::kChar).to(at::kFloat);
  return decoded(codes.contiguous(), element);
}

}  // namespace

KvRows::KvRows(std::vector<KvPart> parts, const Placement& placement, std::int64_t prefix,
               at::ScalarType rounded_to)
    : parts_(std::move(parts)), placement_(placement), prefix_(prefix), rounded_to_(rounded_to) {
  for (KvPart& part : parts_) {
    part.tokens = as_bytes(part.tokens);
    part.prefix = as_bytes(part.prefix);
  }
}

bool KvRows::lies_dense() const {
  return !placement_.paged() && prefix_ == 0 && std::ranges::all_of(parts_, [](const KvPart& part) {
    return !part.element.has_value() && part.tokens.stride(-1) == 1;
  });
}

flash::RowSource KvRows::dense_source(std::int64_t sequence, std::int64_t head) const {
  std::vector<flash::Strided> strided;
  const std::int64_t length = placement_.length(sequence);
  for (const KvPart& part : parts_) {
    const at::Tensor rows = rows_of(part.tokens, placement_, {sequence, head, 0, length});
    strided.push_back({.data = rows.const_data_ptr(),
                       .dtype = rows.scalar_type(),
                       .width = rows.size(1),
                       .stride = rows.stride(0)});
  }
  return flash::rows_of(std::move(strided));
}

at::Tensor KvRows::stored(const KvPart& part, const TokenRange& range) const {
  const std::int64_t shared = std::clamp<std::int64_t>(prefix_ - range.first, 0, range.length);
  TokenRange own = range;
  own.first = std::max<std::int64_t>(0, range.first - prefix_);
  own.length = range.length - shared;
  if (shared == 0) return rows_of(part.tokens, placement_, own);
  const at::Tensor front =
      part.prefix.select(0, 0).select(0, range.head).narrow(0, range.first, shared);
  return own.length == 0 ? front : at::cat({front, rows_of(part.tokens, placement_, own)});
}

at::Tensor KvRows::part_of(const KvPart& part, const TokenRange& range) const {
  const at::Tensor rows = stored(part, range);
  if (!part.element.has_value()) return rows;
  const at::Tensor values = values_of(rows, *part.element);
  if (part.offset.defined()) values.add_(part.offset.of(range));
  if (part.scale.defined()) values.mul_(part.scale.of(range));
  return values.to(rounded_to_);
}

flash::RowSource KvRows::source(std::int64_t sequence, std::int64_t head) const {
  if (lies_dense()) return dense_source(sequence, head);
  return [this, sequence, head](std::int64_t first, std::int64_t count, float* scratch) {
    std::vector<at::Tensor> values;
    std::int64_t width = 0;
    for (const KvPart& part : parts_) {
      values.push_back(part_of(part, {sequence, head, first, count}));
      width += values.back().size(1);
    }
    const at::Tensor rows = at::from_blob(scratch, {count, width}, at::kFloat);
    std::int64_t column = 0;
    for (const at::Tensor& part : values) {
      rows.narrow(1, column, part.size(1)).copy_(part);
      column += part.size(1);
    }
    return flash::Rows{scratch, width};
  };
}

}  // namespace npu_sim::ops
