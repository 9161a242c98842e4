#include "ops/attention/infer_layout.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>

namespace npu_sim::ops {
namespace {

struct Named {
  std::string_view name;
  InferLayout layout;
};
// Source: get_query_and_attention_out_layout of op-plugin's
// FusedInferAttentionScoreKernelNpuOpApi.cpp.
constexpr std::array kLayouts{
    Named{"BSH", {Axes::kBsh, Axes::kBsh}},         Named{"BSND", {Axes::kBsnd, Axes::kBsnd}},
    Named{"BNSD", {Axes::kBnsd, Axes::kBnsd}},      Named{"TND", {Axes::kTnd, Axes::kTnd}},
    Named{"NTD", {Axes::kNtd, Axes::kNtd}},         Named{"NSD", {Axes::kNsd, Axes::kNsd}},
    Named{"BNSD_BSND", {Axes::kBnsd, Axes::kBsnd}}, Named{"BSH_BNSD", {Axes::kBsh, Axes::kBnsd}},
    Named{"BSND_BNSD", {Axes::kBsnd, Axes::kBnsd}}, Named{"NTD_TND", {Axes::kNtd, Axes::kTnd}},
    Named{"BSH_NBSD", {Axes::kBsh, Axes::kNbsd}},   Named{"BSND_NBSD", {Axes::kBsnd, Axes::kNbsd}},
    Named{"BNSD_NBSD", {Axes::kBnsd, Axes::kNbsd}}, Named{"TND_NTD", {Axes::kTnd, Axes::kNtd}},
};

std::size_t at_index(std::int64_t i) { return static_cast<std::size_t>(i); }

// Spans of sequences that follow each other along T.
std::vector<TokenSpan> flat_spans(const Lengths& lengths, std::int64_t tokens) {
  TORCH_CHECK_VALUE(lengths.values.has_value(), lengths.name.op, ": expected ",
                    lengths.name.argument, " in a layout with the axis T, got None");
  std::vector<TokenSpan> spans;
  std::int64_t first = 0;
  for (const std::int64_t end : *lengths.values) {
    TORCH_CHECK_VALUE(end >= first && end <= tokens, lengths.name.op, ": expected ",
                      lengths.name.argument, " of running sums that end at ", tokens,
                      " or before, got ", end, " after ", first);
    spans.push_back({.first = first, .length = end - first});
    first = end;
  }
  return spans;
}

}  // namespace

InferLayout infer_layout(const char* op, std::string_view name) {
  const auto* const found = std::ranges::find(kLayouts, name, &Named::name);
  TORCH_CHECK_VALUE(found != kLayouts.end(), op,
                    ": expected input_layout BSH, BSND, BNSD, NSD, TND, NTD, BNSD_BSND, BSH_BNSD, "
                    "BSND_BNSD, NTD_TND, BSH_NBSD, BSND_NBSD, BNSD_NBSD or TND_NTD, got ",
                    name);
  return found->layout;
}

Integers lengths_for(ArgumentName name, const Integers& lengths, std::int64_t batch,
                     std::int64_t longest) {
  const auto given = static_cast<std::int64_t>(lengths.size());
  TORCH_CHECK_VALUE(given == 1 || given >= batch, name.op, ": expected ", name.argument,
                    " of one length, or of one for each of ", batch, " sequences, got ", given);
  Integers found(at_index(batch));
  for (std::int64_t i = 0; i < batch; ++i) {
    const std::int64_t length = lengths[given == 1 ? 0 : at_index(i)];
    TORCH_CHECK_VALUE(length >= 0 && length <= longest, name.op, ": expected ", name.argument,
                      " in [0, ", longest, "], the tokens that a sequence has, got ", length);
    found[at_index(i)] = length;
  }
  return found;
}

std::vector<TokenSpan> token_spans(const Lengths& lengths, Axes axes, at::IntArrayRef sizes) {
  const std::int64_t tokens = sizes[2];
  if (is_flat(axes)) return flat_spans(lengths, tokens);
  const std::int64_t batch = sizes[0];
  const Integers each = lengths.values.has_value()
                            ? lengths_for(lengths.name, *lengths.values, batch, tokens)
                            : Integers(at_index(batch), tokens);
  // Padding without lengths means nothing, as on the card.
  const bool padded = lengths.padding.has_value() && lengths.values.has_value();
  std::vector<TokenSpan> spans;
  for (std::int64_t i = 0; i < batch; ++i) {
    const std::int64_t length = each[at_index(i)];
    const std::int64_t behind =
        padded ? std::max<std::int64_t>(0, *lengths.padding) : tokens - length;
    const std::int64_t first = behind > tokens ? -1 : tokens - behind - length;
    spans.push_back({.batch = i,
                     .first = std::max<std::int64_t>(first, 0),
                     .length = first < 0 ? 0 : length,
                     .skipped = std::max<std::int64_t>(first, 0)});
  }
  return spans;
}

}  // namespace npu_sim::ops
