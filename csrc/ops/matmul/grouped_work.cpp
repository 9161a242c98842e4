#include "ops/matmul/grouped_work.h"

#include <algorithm>
#include <numeric>

#include "aten/describe/operands.h"

namespace npu_sim::ops {
namespace {

model::GroupedMatmulWork of_formats(const GroupedProduct& product) {
  return {.n = product.n, .k = product.k, .a = product.a, .b = product.b, .out = product.out};
}

Integers sizes_of(const GroupSpans& spans) {
  Integers sizes;
  for (const Span& span : spans) sizes.push_back(span.size);
  return sizes;
}

}  // namespace

model::Work work_by_rows(const GroupedProduct& product) {
  model::GroupedMatmulWork work = of_formats(product);
  work.rows = product.spans.has_value() ? model::GroupSizes(sizes_of(*product.spans))
                                        : model::GroupSizes::even(product.groups, product.rows);
  if (work.rows.empty()) return model::NoWork{};
  return work;
}

model::Work work_by_k(const GroupedProduct& product) {
  model::GroupedMatmulWork work = of_formats(product);
  std::int64_t groups = product.groups;
  if (product.spans.has_value()) {
    const Integers sizes = sizes_of(*product.spans);
    groups = std::ranges::count_if(sizes, [](std::int64_t size) { return size > 0; });
    work.k = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  }
  work.k = aten::ratio(work.k, groups);
  work.rows = model::GroupSizes::even(groups, groups * product.rows);
  if (work.rows.empty()) return model::NoWork{};
  return work;
}

std::optional<std::int64_t> dtype_at(const aten::Call& call, std::size_t index) {
  if (index >= call.arguments.size() || !call.arguments[index].isInt()) return std::nullopt;
  return call.arguments[index].toInt();
}

}  // namespace npu_sim::ops
