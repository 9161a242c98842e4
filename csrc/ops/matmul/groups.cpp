#include "ops/matmul/groups.h"

#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace npu_sim::ops {
namespace {

GroupSpans spans_of_pairs(const Integers& list) {
  GroupSpans spans;
  std::int64_t first = 0;
  for (std::size_t pair = 0; pair + 1 < list.size(); pair += 2) {
    const std::int64_t size = list[pair + 1];
    if (size == 0) break;
    spans.push_back({.group = list[pair], .first = first, .size = size});
    first += size;
  }
  return spans;
}

// The card stops at the first pair without rows, so one with rows behind it would be lost.
bool ends_with_empty_groups(const Integers& list) {
  bool ended = false;
  for (std::size_t pair = 0; pair + 1 < list.size(); pair += 2) {
    if (ended && list[pair + 1] != 0) return false;
    ended = ended || list[pair + 1] == 0;
  }
  return true;
}

void check_length(const SpanList& list, std::int64_t groups) {
  const auto length = static_cast<std::int64_t>(list.values.size());
  if (list.type != kPairs) {
    TORCH_CHECK_VALUE(length == groups, list.op, ": expected group_list of ", groups,
                      " groups, got ", length);
    return;
  }
  TORCH_CHECK_VALUE(length % 2 == 0 && length / 2 <= groups, list.op,
                    ": expected group_list of at most ", groups,
                    " groups, pairs of group and count, got ", length, " numbers");
  TORCH_CHECK_VALUE(ends_with_empty_groups(list.values), list.op,
                    ": expected group_list of pairs whose groups without rows stand last, got ",
                    at::IntArrayRef(list.values));
}

}  // namespace

GroupSpans spans_of(const Integers& list, std::int64_t type) {
  if (type == kPairs) return spans_of_pairs(list);
  GroupSpans spans;
  std::int64_t first = 0;
  for (std::size_t group = 0; group < list.size(); ++group) {
    const std::int64_t size = type == kCounts ? list[group] : list[group] - first;
    spans.push_back({.group = static_cast<std::int64_t>(group), .first = first, .size = size});
    first += size;
  }
  return spans;
}

GroupSpans checked_spans(const SpanList& list, std::int64_t groups, std::int64_t extent) {
  check_length(list, groups);
  GroupSpans spans = spans_of(list.values, list.type);
  std::int64_t rows = 0;
  for (const Span& span : spans) {
    TORCH_CHECK_VALUE(span.group >= 0 && span.group < groups, list.op,
                      ": expected group_list of groups from 0 to ", groups - 1, ", got ",
                      span.group);
    rows = span.size < 0 || rows > extent ? extent + 1 : rows + span.size;
  }
  TORCH_CHECK_VALUE(rows <= extent, list.op,
                    ": expected group_list of sizes from 0 that add up to at most ", extent,
                    ", got ", at::IntArrayRef(list.values));
  return spans;
}

std::optional<Integers> group_list_of(const char* op, const at::Tensor& list) {
  TORCH_CHECK_TYPE(list.scalar_type() == at::kLong, op, ": expected group_list of int64, got ",
                   list.scalar_type());
  return list.is_meta() ? std::nullopt : std::optional(integers_in(list));
}

void check_list_type(const char* op, std::int64_t type, std::int64_t count) {
  TORCH_CHECK_VALUE(type >= 0 && type<count, op, ": expected group_list_type of 0 (sums)", count> 2
                        ? ", "
                        : " or ",
                    "1 (counts)", count > 2 ? " or 2 (pairs)" : "", ", got ", type);
}

at::Tensor by_rows(const GroupSpans& spans, at::IntArrayRef shape, const at::TensorOptions& options,
                   const std::function<at::Tensor(const Span&)>& product) {
  const at::Tensor whole = at::zeros(shape, options);
  for (const Span& span : spans) {
    if (span.size > 0) whole.narrow(0, span.first, span.size).copy_(product(span));
  }
  return whole;
}

}  // namespace npu_sim::ops
