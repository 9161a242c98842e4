#include "ops/extension/compressed_spans.h"

#include <c10/util/Exception.h>

#include <numeric>

#include "aten/describe/operands.h"
#include "aten/describe/values.h"

namespace npu_sim::ops {
namespace {

Integers lengths_of(Integers sums, bool from_zero) {
  if (from_zero && !sums.empty()) sums.erase(sums.begin());
  Integers lengths(sums.size());
  std::adjacent_difference(sums.begin(), sums.end(), lengths.begin());
  return lengths;
}

}  // namespace

Integers divided(const Integers& lengths, std::int64_t ratio) {
  Integers quotients;
  for (const std::int64_t length : lengths) quotients.push_back(length / ratio);
  return quotients;
}

Integers uncompressed(ArgumentName name, const Integers& lengths, std::int64_t ratio,
                      const MaybeTensor& rest) {
  const Integers rests = integers_if_given(name, rest).value_or(Integers(lengths.size(), 0));
  TORCH_CHECK_VALUE(rests.size() == lengths.size(), name.op, ": expected ", name.argument, " of ",
                    lengths.size(), " sequences, got ", rests.size());
  Integers tokens;
  for (std::size_t i = 0; i < lengths.size(); ++i) tokens.push_back(lengths[i] * ratio + rests[i]);
  return tokens;
}

std::vector<Sequence> sequences_from_zero(ArgumentName name, const at::Tensor& query,
                                          std::string_view layout, const MaybeTensor& starts) {
  std::optional<Integers> sums = integers_if_given(name, starts);
  if (layout == "BSND") {
    TORCH_CHECK_VALUE(!sums.has_value(), name.op, ": expected no ", name.argument,
                      " in layout BSND, got ", starts->sizes());
    return query_sequences(name, query, layout, std::nullopt);
  }
  TORCH_CHECK_VALUE(sums.has_value() && !sums->empty() && sums->front() == 0, name.op,
                    ": expected ", name.argument, " of running sums from 0 in layout TND, got ",
                    given(starts) ? "other values" : "None");
  sums->erase(sums->begin());
  return query_sequences(name, query, layout, sums);
}

CompressedSpans compressed_spans(const aten::Call& call, const SpanSources& where) {
  const at::Tensor& query = aten::tensor_at(call, where.query);
  const at::Tensor& sums = aten::tensor_at(call, where.query_lengths);
  const bool flat = text_at(call, where.query_layout, "BSND") == "TND";
  const auto known = aten::integers_at(call, where.query_lengths);
  CompressedSpans spans;
  if (flat && known.has_value()) {
    spans.queries = lengths_of(*known, where.from_zero);
  } else if (!flat && known.has_value() && !known->empty()) {
    spans.queries = *known;
  } else {
    const std::int64_t ends = aten::elements_of(sums) - (where.from_zero ? 1 : 0);
    const std::int64_t batch = flat ? std::max<std::int64_t>(ends, 1) : query.size(0);
    spans.queries.assign(static_cast<std::size_t>(batch),
                         flat ? query.size(0) / batch : query.size(1));
  }
  const auto keys = aten::integers_at(call, where.key_lengths);
  spans.tokens = keys.has_value() && keys->size() == spans.queries.size()
                     ? *keys
                     : Integers(spans.queries.size(), where.unknown_keys);
  return spans;
}

}  // namespace npu_sim::ops
