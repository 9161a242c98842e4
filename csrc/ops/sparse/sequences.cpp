#include "ops/sparse/sequences.h"

#include <ATen/ops/index.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "aten/describe/operands.h"
#include "aten/describe/values.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {
namespace {

std::size_t at_index(std::int64_t i) { return static_cast<std::size_t>(i); }

// Lengths from running sums.
Integers differences(const Integers& sums) {
  Integers lengths(sums.size());
  std::adjacent_difference(sums.begin(), sums.end(), lengths.begin());
  return lengths;
}

void check_running_sums(ArgumentName name, const Integers& sums, std::int64_t tokens) {
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::int64_t before = i == 0 ? 0 : sums[i - 1];
    TORCH_CHECK_VALUE(sums[i] >= before && sums[i] <= tokens, name.op, ": expected ", name.argument,
                      " of running sums that end at ", tokens, " or before, got ", sums[i],
                      " after ", before);
  }
}

void check_lengths(ArgumentName name, const Integers& lengths, std::int64_t sequences,
                   std::int64_t longest) {
  TORCH_CHECK_VALUE(static_cast<std::int64_t>(lengths.size()) == sequences, name.op, ": expected ",
                    name.argument, " of ", sequences, " sequences, got ", lengths.size());
  for (const std::int64_t length : lengths) {
    TORCH_CHECK_VALUE(length >= 0 && length <= longest, name.op, ": expected ", name.argument,
                      " in [0, ", longest, "], got ", length);
  }
}

at::Tensor as_tensor(const Integers& values) { return at::tensor(values, at::kLong); }

// Layout TND seen as one block of all tokens.
at::Tensor with_blocks(const at::Tensor& tensor, bool has_blocks) {
  return has_blocks ? tensor : tensor.unsqueeze(0);
}

}  // namespace

std::vector<Sequence> query_sequences(ArgumentName name, const at::Tensor& query,
                                      std::string_view layout,
                                      const std::optional<Integers>& lengths) {
  std::vector<Sequence> sequences;
  if (layout == "TND") {
    TORCH_CHECK_VALUE(lengths.has_value(), name.op, ": expected ", name.argument,
                      " in layout TND, got None");
    check_running_sums(name, *lengths, query.size(0));
    std::int64_t first = 0;
    for (const std::int64_t end : *lengths) {
      sequences.push_back({.first = first, .length = end - first});
      first = end;
    }
    return sequences;
  }
  const std::int64_t longest = query.size(1);
  if (lengths.has_value()) check_lengths(name, *lengths, query.size(0), longest);
  for (std::int64_t i = 0; i < query.size(0); ++i) {
    const std::int64_t length = lengths.has_value() ? (*lengths)[at_index(i)] : longest;
    sequences.push_back({.first = i * longest, .length = length});
  }
  return sequences;
}

Keys::Keys(const Layout& layout, const at::Tensor& key, const std::optional<Integers>& lengths,
           const MaybeTensor& block_table, std::int64_t batch) {
  const bool tnd = layout.name == "TND";
  const bool bsnd = layout.name == "BSND";
  paged_ = !tnd && !bsnd;
  TORCH_CHECK_VALUE(key.dim() == (tnd ? 3 : 4), layout.op, ": expected a key of ", tnd ? 3 : 4,
                    " axes in layout ", layout.name, ", got ", key.sizes());
  const ArgumentName name{.op = layout.op, .argument = layout.lengths};
  TORCH_CHECK_VALUE(lengths.has_value() || bsnd, layout.op, ": expected ", layout.lengths,
                    " in layout ", layout.name, ", got None");
  inner_ = tnd ? key.size(0) : key.size(1);
  if (tnd) {
    check_running_sums(name, *lengths, key.size(0));
    check_lengths(name, differences(*lengths), batch, key.size(0));
    lengths_ = differences(*lengths);
    for (const std::int64_t end : *lengths) starts_.push_back(end);
    for (std::size_t i = 0; i < starts_.size(); ++i) starts_[i] -= lengths_[i];
    return;
  }
  lengths_ = lengths.value_or(Integers(at_index(batch), inner_));
  check_lengths(name, lengths_, batch, bsnd ? inner_ : std::numeric_limits<std::int32_t>::max());
  if (bsnd) {
    TORCH_CHECK_VALUE(key.size(0) == batch, layout.op, ": expected a key of ", batch,
                      " sequences, as query has, got ", key.sizes());
    for (std::int64_t i = 0; i < batch; ++i) starts_.push_back(i * inner_);
    return;
  }
  TORCH_CHECK_VALUE(given(block_table), layout.op,
                    ": expected block_table in layout PA_BSND, got None");
  read_table(layout, *block_table, key.size(0));
}

void Keys::read_table(const Layout& layout, const at::Tensor& table, std::int64_t blocks) {
  TORCH_CHECK_VALUE(table.dim() == 2 && table.size(0) == static_cast<std::int64_t>(lengths_.size()),
                    layout.op, ": expected block_table of [", lengths_.size(),
                    ", blocks of the longest sequence], got ", table.sizes());
  const Integers all = integers_of({.op = layout.op, .argument = "block_table"}, table);
  for (std::size_t i = 0; i < lengths_.size(); ++i) {
    const std::int64_t used = inner_ == 0 ? 0 : (lengths_[i] + inner_ - 1) / inner_;
    TORCH_CHECK_VALUE(used <= table.size(1) && (inner_ > 0 || lengths_[i] == 0), layout.op,
                      ": expected block_table with ", used, " blocks of ", inner_,
                      " tokens for a sequence of ", lengths_[i], ", got ", table.sizes());
    const auto first = all.begin() + static_cast<std::int64_t>(i) * table.size(1);
    tables_.emplace_back(first, first + used);
    for (const std::int64_t block : tables_.back()) {
      TORCH_CHECK_INDEX(block >= 0 && block < blocks, layout.op,
                        ": expected block_table with blocks in [0, ", blocks, "), got ", block);
    }
  }
}

std::int64_t Keys::place(std::int64_t sequence, std::int64_t position) const {
  if (!paged_) return starts_[at_index(sequence)] + position;
  return tables_[at_index(sequence)][at_index(position / inner_)] * inner_ + position % inner_;
}

at::Tensor Keys::flat_places(std::int64_t sequence, const Integers& positions) const {
  Integers places;
  places.reserve(positions.size());
  for (const std::int64_t position : positions) places.push_back(place(sequence, position));
  return as_tensor(places);
}

at::Tensor Keys::rows(const at::Tensor& tensor, std::int64_t sequence, const Integers& positions,
                      std::int64_t head) const {
  // Two indices, because blocks may lie apart from each other (a cache's view of one layer).
  Integers outer;
  Integers inner;
  for (const std::int64_t position : positions) {
    const std::int64_t flat = place(sequence, position);
    outer.push_back(flat / inner_);
    inner.push_back(flat % inner_);
  }
  const at::Tensor blocks = with_blocks(tensor, tensor.dim() == 4).select(2, head);
  return at::index(blocks, {as_tensor(outer), as_tensor(inner)});
}

at::Tensor Keys::all_rows(const at::Tensor& tensor, std::int64_t sequence,
                          std::int64_t head) const {
  const std::int64_t count = length(sequence);
  if (!paged_) {
    const std::int64_t first = starts_[at_index(sequence)];
    const at::Tensor blocks = with_blocks(tensor, tensor.dim() == 4).select(2, head);
    const std::int64_t outer = inner_ == 0 ? 0 : first / inner_;
    const at::Tensor block = blocks.select(0, std::min(outer, blocks.size(0) - 1));
    return block.narrow(0, outer < blocks.size(0) ? first - outer * inner_ : 0, count);
  }
  Integers positions(at_index(count));
  std::iota(positions.begin(), positions.end(), 0);
  return rows(tensor, sequence, positions, head);
}

std::int64_t visible(std::int64_t sparse_mode, std::int64_t keys, std::int64_t queries,
                     std::int64_t index) {
  if (sparse_mode == 0) return keys;
  return std::clamp<std::int64_t>(keys - queries + index + 1, 0, keys);
}

void check_masking(const char* op, const Masking& masking) {
  TORCH_CHECK_VALUE(masking.sparse_mode == 0 || masking.sparse_mode == 3, op,
                    ": expected sparse_mode 0 (all keys) or 3 (right-down causal), got ",
                    masking.sparse_mode);
  constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();
  TORCH_CHECK_VALUE(masking.pre_tokens == kAll && masking.next_tokens == kAll, op,
                    ": expected pre_tokens and next_tokens of 2^63 - 1 (unlimited), got ",
                    masking.pre_tokens, " and ", masking.next_tokens);
}

void check_layouts(const char* op, std::string_view query, std::string_view key) {
  TORCH_CHECK_VALUE(query == "BSND" || query == "TND", op,
                    ": expected layout_query BSND or TND, got ", query);
  TORCH_CHECK_VALUE(key == query || key == "PA_BSND", op, ": expected a key layout of ", query,
                    ", as the query has, or PA_BSND, got ", key);
}

std::string_view text_at(const aten::Call& call, std::size_t index, std::string_view fallback) {
  if (index >= call.arguments.size() || !call.arguments[index].isString()) return fallback;
  return call.arguments[index].toStringRef();
}

Spans spans_of(const aten::Call& call, const SpanArguments& where) {
  const at::Tensor& query = aten::tensor_at(call, where.query);
  const at::Tensor& key = aten::tensor_at(call, where.key);
  const std::string_view query_layout = text_at(call, where.query_layout, "BSND");
  const std::string_view key_layout = text_at(call, where.key_layout, query_layout);
  const auto known_queries = aten::integers_at(call, where.query_lengths);
  const auto known_keys = aten::integers_at(call, where.key_lengths);
  const bool flat = query_layout == "TND";
  Spans spans;
  if (known_queries.has_value() && !known_queries->empty()) {
    spans.queries = flat ? differences(*known_queries) : *known_queries;
  } else {
    const at::Tensor& lengths = aten::tensor_at(call, where.query_lengths);
    const std::int64_t batch =
        flat ? std::max<std::int64_t>(aten::elements_of(lengths), 1) : query.size(0);
    spans.queries.assign(at_index(batch), flat ? query.size(0) / batch : query.size(1));
  }
  if (known_keys.has_value() && known_keys->size() == spans.queries.size()) {
    spans.keys = key_layout == "TND" ? differences(*known_keys) : *known_keys;
  } else {
    const auto batch = static_cast<std::int64_t>(spans.queries.size());
    const at::Tensor& table = aten::tensor_at(call, where.block_table);
    const bool paged = key_layout == "PA_BSND" && table.defined();
    const std::int64_t each = key_layout == "TND" ? key.size(0) / std::max<std::int64_t>(batch, 1)
                              : paged             ? aten::size_along(table, 1) * key.size(1)
                                                  : key.size(1);
    spans.keys.assign(spans.queries.size(), each);
  }
  return spans;
}

}  // namespace npu_sim::ops
