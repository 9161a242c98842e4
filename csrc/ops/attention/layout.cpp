#include "ops/attention/layout.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>

namespace npu_sim::ops {

std::string checked_layout(const char* op, std::string_view layout) {
  constexpr std::array<std::string_view, 5> kLayouts = {"BSH", "SBH", "BSND", "BNSD", "TND"};
  std::string capitals(layout);
  std::ranges::transform(capitals, capitals.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  TORCH_CHECK_VALUE(std::ranges::find(kLayouts, capitals) != kLayouts.end(), op,
                    ": expected input_layout BSH, SBH, BSND, BNSD or TND, got '", layout, "'");
  return capitals;
}

at::Tensor heads_first(const at::Tensor& tensor, std::string_view layout, std::int64_t heads) {
  if (layout == "BNSD") return tensor;
  if (layout == "BSND") return tensor.transpose(1, 2);
  if (layout == "TND") return tensor.transpose(0, 1).unsqueeze(0);
  const at::Tensor split = tensor.unflatten(2, {heads, tensor.size(2) / heads});
  return layout == "BSH" ? split.transpose(1, 2) : split.permute({1, 2, 0, 3});
}

at::Tensor in_layout(const at::Tensor& x, std::string_view layout) {
  if (layout == "BNSD") return x.contiguous();
  if (layout == "BSND") return x.transpose(1, 2).contiguous();
  if (layout == "TND") return x.squeeze(0).transpose(0, 1).contiguous();
  const at::Tensor tokens_first = layout == "BSH" ? x.transpose(1, 2) : x.permute({2, 0, 1, 3});
  return tokens_first.contiguous().view(sizes_in_layout(x.sizes(), layout));
}

std::vector<std::int64_t> sizes_in_layout(at::IntArrayRef sizes, std::string_view layout) {
  const std::int64_t batch = sizes[0];
  const std::int64_t heads = sizes[1];
  const std::int64_t tokens = sizes[2];
  const std::int64_t width = sizes[3];
  if (layout == "BNSD") return {batch, heads, tokens, width};
  if (layout == "BSND") return {batch, tokens, heads, width};
  if (layout == "TND") return {tokens, heads, width};
  if (layout == "BSH") return {batch, tokens, heads * width};
  return {tokens, batch, heads * width};
}

Integers lengths_from_sums(Integers sums) {
  while (!sums.empty() && sums.back() == 0) sums.pop_back();
  Integers lengths(sums.size());
  std::adjacent_difference(sums.begin(), sums.end(), lengths.begin());
  return lengths;
}

std::vector<SequencePair> even_sequences(std::int64_t batch, std::int64_t queries,
                                         std::int64_t keys) {
  std::vector<SequencePair> sequences;
  for (std::int64_t b = 0; b < batch; ++b) {
    sequences.push_back({.batch = b, .queries = queries, .keys = keys});
  }
  return sequences;
}

std::vector<SequencePair> packed_sequences(const Integers& queries, const Integers& keys) {
  std::vector<SequencePair> sequences;
  SequencePair next;
  for (std::size_t s = 0; s < std::min(queries.size(), keys.size()); ++s) {
    next.queries = queries[s];
    next.keys = keys[s];
    sequences.push_back(next);
    next.query_first += next.queries;
    next.key_first += next.keys;
  }
  return sequences;
}

}  // namespace npu_sim::ops
