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

Axes axes_named(std::string_view layout) {
  if (layout == "BSH") return Axes::kBsh;
  if (layout == "SBH") return Axes::kSbh;
  if (layout == "BSND") return Axes::kBsnd;
  return layout == "TND" ? Axes::kTnd : Axes::kBnsd;
}

std::int64_t rank_of(Axes axes) {
  return axes == Axes::kBsnd || axes == Axes::kBnsd || axes == Axes::kNbsd ? 4 : 3;
}

at::Tensor heads_first(const at::Tensor& tensor, Axes axes, std::int64_t heads) {
  const auto split = [&] {
    return tensor.view({tensor.size(0), tensor.size(1), heads, tensor.size(2) / heads});
  };
  switch (axes) {
    case Axes::kBsh: return split().transpose(1, 2);
    case Axes::kSbh: return split().permute({1, 2, 0, 3});
    case Axes::kBsnd: return tensor.transpose(1, 2);
    case Axes::kBnsd: return tensor;
    case Axes::kNbsd: return tensor.transpose(0, 1);
    case Axes::kNsd:
    case Axes::kNtd: return tensor.unsqueeze(0);
    case Axes::kTnd: return tensor.transpose(0, 1).unsqueeze(0);
  }
  return tensor;
}

at::Tensor heads_first(const at::Tensor& tensor, std::string_view layout, std::int64_t heads) {
  return heads_first(tensor, axes_named(layout), heads);
}

std::vector<std::int64_t> sizes_in(Axes axes, at::IntArrayRef sizes) {
  const std::int64_t batch = sizes[0];
  const std::int64_t heads = sizes[1];
  const std::int64_t tokens = sizes[2];
  const std::int64_t width = sizes[3];
  switch (axes) {
    case Axes::kBsh: return {batch, tokens, heads * width};
    case Axes::kSbh: return {tokens, batch, heads * width};
    case Axes::kBsnd: return {batch, tokens, heads, width};
    case Axes::kBnsd: return sizes.vec();
    case Axes::kNbsd: return {heads, batch, tokens, width};
    case Axes::kNsd:
    case Axes::kNtd: return {heads, tokens, width};
    case Axes::kTnd: return {tokens, heads, width};
  }
  return sizes.vec();
}

at::Tensor in_layout(const at::Tensor& x, std::string_view layout) {
  if (layout == "BNSD") return x.contiguous();
  if (layout == "BSND") return x.transpose(1, 2).contiguous();
  if (layout == "TND") return x.squeeze(0).transpose(0, 1).contiguous();
  const at::Tensor tokens_first = layout == "BSH" ? x.transpose(1, 2) : x.permute({2, 0, 1, 3});
  return tokens_first.contiguous().view(sizes_in(axes_named(layout), x.sizes()));
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
