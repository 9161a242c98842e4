#include "ops/extension/shared_attention.h"

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "ops/sparse/selected_attention.h"

namespace npu_sim::ops {
namespace {

Integers positions_from(std::int64_t first, std::int64_t last) {
  Integers positions(static_cast<std::size_t>(std::max<std::int64_t>(last - first, 0)));
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

at::Tensor keys_at(const KeyCache& keys, std::int64_t sequence, const Integers& positions) {
  return keys.decode(keys.places.rows(keys.cache, sequence, positions, 0));
}

// Positions [first, last) of its own sequence.
struct Range {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

Range seen_by(const Window& window, std::int64_t position, std::int64_t tokens) {
  const std::int64_t first = window.before < 0 ? 0 : position - window.before;
  const std::int64_t last = window.after < 0 ? tokens : position + window.after + 1;
  return {.first = std::clamp<std::int64_t>(first, 0, tokens),
          .last = std::clamp<std::int64_t>(last, 0, tokens)};
}

// One sequence: the keys that all its queries share are decoded once, chosen ones a query.
class SequenceKeys {
 public:
  SequenceKeys(const SharedAttention& on, const CompressedSpans& spans, std::size_t s,
               const KeyCache& own, const KeyCache& compressed)
      : on_(on), spans_(spans), s_(s), compressed_(compressed) {
    const auto sequence = static_cast<std::int64_t>(s);
    const std::int64_t tokens = spans.tokens[s];
    const std::int64_t last = spans.position(s, spans.queries[s] - 1);
    own_first_ = seen_by(on.window, spans.position(s, 0), tokens).first;
    const std::int64_t own_last = seen_by(on.window, last, tokens).last;
    own_ = keys_at(own, sequence, positions_from(own_first_, own_last));
    if (compressed.cache.defined() && !on.indices.defined()) {
      shared_ = keys_at(compressed, sequence, positions_from(0, visible(spans.queries[s] - 1)));
    }
  }

  // Keys of query `index`, which is row `row` of all queries.
  [[nodiscard]] at::Tensor of(std::int64_t index, std::int64_t row) const {
    const auto [first, last] = seen_by(on_.window, spans_.position(s_, index), spans_.tokens[s_]);
    const at::Tensor own = own_.narrow(0, std::min(first - own_first_, own_.size(0)),
                                       std::max<std::int64_t>(last - first, 0));
    if (shared_.defined()) return at::cat({own, shared_.narrow(0, 0, visible(index))});
    if (!on_.indices.defined()) return own;
    const std::int64_t count = on_.indices.size(-1);
    const auto* const chosen = on_.indices.const_data_ptr<std::int32_t>() + row * count;
    const Integers positions = selected_positions(chosen, count, 1, visible(index));
    return at::cat({own, keys_at(compressed_, static_cast<std::int64_t>(s_), positions)});
  }

 private:
  [[nodiscard]] std::int64_t visible(std::int64_t index) const {
    return on_.causal ? spans_.visible(s_, index, on_.ratio) : spans_.tokens[s_] / on_.ratio;
  }

  const SharedAttention& on_;
  const CompressedSpans& spans_;
  std::size_t s_;
  const KeyCache& compressed_;
  std::int64_t own_first_ = 0;
  at::Tensor own_;     // keys from own_first_ on
  at::Tensor shared_;  // compressed keys; undefined: none, or chosen by each query
};

}  // namespace

at::Tensor attended(const SharedAttention& on, const std::vector<Sequence>& queries,
                    const CompressedSpans& spans, const KeyCache& own, const KeyCache& compressed) {
  const at::Tensor out = at::zeros(on.query.sizes(), on.query.options());
  for (std::size_t s = 0; s < queries.size(); ++s) {
    const auto& [first, count] = queries[s];
    if (count == 0) continue;
    const SequenceKeys keys(on, spans, s, own, compressed);
    at::parallel_for(0, count, 1, [&, first = first](std::int64_t begin, std::int64_t end) {
      const at::AutoDispatchBelowAutograd below;
      for (std::int64_t i = begin; i < end; ++i) {
        const at::Tensor seen = keys.of(i, first + i);
        out[first + i].copy_(attend(on.query[first + i], seen, seen, on.scale, on.sinks).out);
      }
    });
  }
  return out;
}

}  // namespace npu_sim::ops
