#include "ops/matmul/grouped_work.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "aten/describe/operands.h"

namespace npu_sim::ops {
namespace {

model::GroupedMatmulWork of_formats(const GroupedProduct& product) {
  return {.n = product.n, .k = product.k, .a = product.a, .b = product.b, .out = product.out};
}

}  // namespace

model::Work work_by_rows(const GroupedProduct& product) {
  model::GroupedMatmulWork work = of_formats(product);
  if (!product.spans.has_value()) {
    work.rows = model::GroupSizes::even(product.groups, product.rows);
    return work;
  }
  Integers rows;
  for (const Span& span : *product.spans) rows.push_back(span.size);
  work.rows = model::GroupSizes(std::move(rows));
  if (work.rows.empty()) return model::NoWork{};
  return work;
}

model::Work work_by_k(const GroupedProduct& product) {
  model::GroupedMatmulWork work = of_formats(product);
  std::int64_t groups = product.groups;
  std::int64_t k = product.k;
  if (product.spans.has_value()) {
    groups = std::ranges::count_if(*product.spans, [](const Span& span) { return span.size > 0; });
    k = std::accumulate(product.spans->begin(), product.spans->end(), std::int64_t{0},
                        [](std::int64_t sum, const Span& span) { return sum + span.size; });
  }
  if (groups == 0) return model::NoWork{};
  work.k = aten::ratio(k, groups);
  work.rows = model::GroupSizes::even(groups, groups * product.rows);
  return work;
}

base::Format format_of(const Coded& operand, bool mx) {
  if (!operand.element.has_value()) return aten::format_of(operand.codes);
  if (!mx) return format_of(*operand.element);
  return compute::bits(*operand.element) == 4 ? base::Format::kMxFp4 : base::Format::kMxFp8;
}

std::optional<std::int64_t> dtype_at(const aten::Call& call, std::size_t index) {
  if (index >= call.arguments.size() || !call.arguments[index].isInt()) return std::nullopt;
  return call.arguments[index].toInt();
}

}  // namespace npu_sim::ops
