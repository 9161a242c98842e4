// Groups of consecutive rows (or of consecutive elements of K), each with a matrix of its own, as
// the group lists of torch_npu say them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "ops/integers.h"

namespace npu_sim::ops {

// What group_list_type says of a list.
inline constexpr std::int64_t kRunningSums = 0;
inline constexpr std::int64_t kCounts = 1;
inline constexpr std::int64_t kPairs = 2;  // group and count; the first count of 0 ends the list

// `size` rows from row `first` that go by matrix `group`.
struct Span {
  std::int64_t group = 0;
  std::int64_t first = 0;
  std::int64_t size = 0;
};
using GroupSpans = std::vector<Span>;

// The spans of a list of `type`, in the order of the rows. Sums and counts give one for each group,
// also for an empty one; the values are not checked.
[[nodiscard]] GroupSpans spans_of(const Integers& list, std::int64_t type);

// A call's group list.
struct SpanList {
  const char* op;
  const Integers& values;
  std::int64_t type;
};

// The same, checked: raises ValueError unless the list says `groups` groups (pairs: at most so
// many) of sizes from 0 that add up to at most `extent`.
[[nodiscard]] GroupSpans checked_spans(const SpanList& list, std::int64_t groups,
                                       std::int64_t extent);

// The values of a group_list tensor, nullopt of a meta one. Raises TypeError unless it is int64.
[[nodiscard]] std::optional<Integers> group_list_of(const char* op, const at::Tensor& list);

// Raises ValueError unless `type` is one of the first `count` types of a list.
void check_list_type(const char* op, std::int64_t type, std::int64_t count);

// [rows, n] in `dtype`: what `product` answers for each span that has rows, one below the other.
// Rows of no span are zeros; the card leaves them as they were.
[[nodiscard]] at::Tensor by_rows(const GroupSpans& spans, at::IntArrayRef shape,
                                 const at::TensorOptions& options,
                                 const std::function<at::Tensor(const Span&)>& product);

}  // namespace npu_sim::ops
