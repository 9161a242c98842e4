#include "ops/attention/paged_source.h"

#include <ATen/ops/index_select.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kFractalAxes = 5;

std::int64_t pages_for(std::int64_t tokens, std::int64_t page) {
  return (tokens + page - 1) / page;
}

void check_table(const char* op, const at::Tensor& table, std::int64_t sequences) {
  TORCH_CHECK_TYPE(table.scalar_type() == at::kInt, op, ": expected block_table of int32, got ",
                   table.scalar_type());
  TORCH_CHECK_VALUE(table.dim() == 2 && table.size(0) == sequences, op,
                    ": expected block_table of [", sequences,
                    ", blocks of the longest sequence], got ", table.sizes());
}

// Rows of one head in the pages `ids`, in order.
at::Tensor page_rows(const at::Tensor& head, const at::Tensor& ids) {
  const at::Tensor pages = at::index_select(head, 0, ids);
  // NZ keeps pieces of rows together: [pages, pieces, tokens, piece].
  const at::Tensor rows = pages.dim() == 4 ? pages.transpose(1, 2) : pages;
  return rows.reshape({rows.size(0) * rows.size(1), -1});
}

}  // namespace

Placement paged_placement(const char* op, const at::Tensor& table, const Integers& lengths,
                          CacheBlocks cache) {
  check_table(op, table, static_cast<std::int64_t>(lengths.size()));
  const std::int64_t page = cache.tokens;
  Placement placement{.spans = {}, .pages = table.to(at::kLong).contiguous(), .page = page};
  const auto* const ids = placement.pages.const_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    TORCH_CHECK_VALUE(page > 0 || lengths[i] == 0, op,
                      ": expected a cache with tokens in its blocks, got none");
    const std::int64_t used = page == 0 ? 0 : pages_for(lengths[i], page);
    TORCH_CHECK_VALUE(used <= table.size(1), op, ": expected block_table with ", used,
                      " blocks of ", page, " tokens for a sequence of ", lengths[i], ", got ",
                      table.sizes());
    for (std::int64_t j = 0; j < used; ++j) {
      const std::int64_t id = ids[static_cast<std::int64_t>(i) * table.size(1) + j];
      TORCH_CHECK_INDEX(id >= 0 && id < cache.count, op,
                        ": expected block_table with blocks in [0, ", cache.count, "), got ", id);
    }
    placement.spans.push_back({.batch = static_cast<std::int64_t>(i), .length = lengths[i]});
  }
  return placement;
}

at::Tensor cache_heads_first(ArgumentName name, const at::Tensor& cache, std::int64_t heads) {
  TORCH_CHECK_VALUE(
      cache.dim() >= 3 && cache.dim() <= 5, name.op, ": expected ", name.argument,
      " with a block_table of [blocks, tokens, heads * width], [blocks, heads, tokens, width] "
      "or [blocks, heads, pieces, tokens, piece], got ",
      cache.sizes());
  TORCH_CHECK_VALUE(cache.dim() == 3 ? cache.size(2) % heads == 0 : cache.size(1) == heads, name.op,
                    ": expected ", name.argument, " of ", heads, " heads, got ", cache.sizes());
  return cache.dim() == 3 ? heads_first(cache, Axes::kBsh, heads) : cache;
}

std::int64_t row_width(const at::Tensor& cache) {
  return cache.dim() == kFractalAxes ? cache.size(2) * cache.size(4) : cache.size(-1);
}

at::Tensor rows_of(const at::Tensor& tensor, const Placement& placement, const TokenRange& range) {
  const std::int64_t head_index = tensor.size(1) == 1 ? 0 : range.head;
  const at::Tensor head = tensor.select(1, head_index);
  const auto sequence = static_cast<std::size_t>(range.sequence);
  if (!placement.paged()) {
    const TokenSpan& span = placement.spans[sequence];
    return head.select(0, span.batch).narrow(0, span.first + range.first, range.length);
  }
  const std::int64_t begin = range.first / placement.page;
  const std::int64_t end = pages_for(range.first + range.length, placement.page);
  const at::Tensor ids = placement.pages.select(0, range.sequence).narrow(0, begin, end - begin);
  return page_rows(head, ids).narrow(0, range.first - begin * placement.page, range.length);
}

}  // namespace npu_sim::ops
