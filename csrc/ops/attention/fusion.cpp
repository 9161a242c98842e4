#include "ops/attention/fusion.h"

#include <ATen/core/PhiloxRNGEngine.h>

#include <cmath>

namespace npu_sim::ops {
namespace {

// The bits that _npu_dropout_gen_mask packs for the same seed and offset.
void draw_kept(const Fusion& on, std::int64_t first, std::int64_t count, std::uint8_t* keep) {
  constexpr std::int64_t kNumbers = 4;  // that the engine makes at a time
  constexpr double kRange = 4294967296.0;
  const auto least = static_cast<std::uint64_t>(std::ceil((1 - on.keep_prob) * kRange));
  at::Philox4_32 engine(static_cast<std::uint64_t>(on.seed), 0,
                        static_cast<std::uint64_t>(on.offset + first / kNumbers));
  for (std::int64_t i = 0; i < first % kNumbers; ++i) engine();
  for (std::int64_t i = 0; i < count; ++i) keep[i] = engine() >= least ? 1 : 0;
}

void read_kept(const std::uint8_t* bits, std::int64_t first, std::int64_t count,
               std::uint8_t* keep) {
  constexpr std::int64_t kBits = 8;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t element = first + i;
    keep[i] = static_cast<std::uint8_t>(bits[element / kBits] >> (element % kBits) & 1);
  }
}

// Elements of a mask lie as [sequence, head, query, key].
flash::Dropout dropout_of(const Fusion& on, const SequencePair& sequence, std::int64_t before,
                          std::int64_t head) {
  if (!on.drops()) return {};
  const auto keep = [&on, &sequence, before, head](const flash::Area& area, std::uint8_t* to) {
    const std::uint8_t* const bits =
        on.dropout_mask.defined() ? on.dropout_mask.const_data_ptr<std::uint8_t>() : nullptr;
    for (std::int64_t i = 0; i < area.queries; ++i) {
      const std::int64_t row = (head + area.head) * sequence.queries + area.query + i;
      const std::int64_t first = before + row * sequence.keys + area.key;
      if (bits != nullptr) {
        read_kept(bits, first, area.keys, to + i * area.keys);
      } else {
        draw_kept(on, first, area.keys, to + i * area.keys);
      }
    }
  };
  return {.keep = keep, .kept_share = static_cast<float>(on.keep_prob)};
}

flash::Mask mask_of(const Fusion& on, const FusionSequences& sequences, std::size_t index,
                    std::int64_t head) {
  if (!on.mask.defined()) return {};
  flash::Mask mask = on.sparse.mask_of(sequences.all(), index);
  if (!on.sparse.reads_mask()) return mask;
  const at::Tensor& hidden = on.mask;
  const bool by_batch = hidden.dim() == 4 && hidden.size(0) > 1;
  const bool by_head = hidden.dim() == 4 && hidden.size(1) > 1;
  mask.hidden_head_stride = by_head ? hidden.stride(1) : 0;
  mask.hidden_query_stride = hidden.stride(-2);
  mask.hidden = static_cast<const std::uint8_t*>(hidden.const_data_ptr()) +
                (by_batch ? sequences.all()[index].batch * hidden.stride(0) : 0) +
                head * mask.hidden_head_stride;
  return mask;
}

}  // namespace

at::Tensor with_whole_rows(const at::Tensor& heads) {
  const bool whole = heads.is_meta() || heads.size(3) <= 1 || heads.stride(3) == 1;
  return whole ? heads : heads.contiguous();
}

FusionSequences::FusionSequences(const Fusion& on) : packed_(on.is_packed()) {
  query = with_whole_rows(heads_first(on.query, on.layout, on.heads));
  const std::int64_t key_heads =
      on.layout == "BSH" || on.layout == "SBH" ? on.key.size(2) / query.size(3) : 0;
  const auto seen = [&](const at::Tensor& x, std::int64_t heads) {
    return x.defined() ? with_whole_rows(heads_first(x, on.layout, heads)) : x;
  };
  key = seen(on.key, key_heads);
  value = seen(on.value, key_heads);
  query_rope = seen(on.query_rope, on.heads);
  key_rope = seen(on.key_rope, key_heads);
  sequences_ =
      packed_ ? packed_sequences(lengths_from_sums(*on.query_sums), lengths_from_sums(*on.key_sums))
              : even_sequences(query.size(0), query.size(2), key.size(2));
  for (const SequencePair& sequence : sequences_) {
    scores_before_.push_back(scores_before_.back() + on.heads * sequence.queries * sequence.keys);
  }
}

std::vector<std::int64_t> FusionSequences::statistics_sizes() const {
  if (packed_) return {query.size(2), query.size(1)};
  return query.sizes().slice(0, 3).vec();
}

std::vector<std::int64_t> FusionSequences::out_sizes() const {
  return {query.size(0), query.size(1), query.size(2), value.size(3)};
}

flash::Strided rows_of_head(const at::Tensor& tensor, std::int64_t batch, std::int64_t head,
                            std::int64_t token) {
  const flash::Strided whole{.data = tensor.const_data_ptr(),
                             .dtype = tensor.scalar_type(),
                             .width = tensor.size(3),
                             .stride = tensor.stride(2)};
  return whole.moved(batch * tensor.stride(0) + head * tensor.stride(1) + token * tensor.stride(2));
}

flash::Statistics statistics_of(const Fusion& on, const SequencePair& sequence, std::int64_t head,
                                const StatisticsTensors& tensors) {
  const bool by_token = on.softmax_layout == "TND";
  const std::int64_t head_stride = by_token ? 1 : sequence.queries;
  const std::int64_t row_stride = by_token ? on.heads : 1;
  const std::int64_t first_row =
      sequence.query_first + (on.is_packed() ? 0 : sequence.batch * sequence.queries);
  const std::int64_t start = first_row * on.heads + head * head_stride;
  return {.greatest = tensors.greatest.mutable_data_ptr<float>() + start,
          .sum = tensors.sum.mutable_data_ptr<float>() + start,
          .head_stride = head_stride,
          .row_stride = row_stride};
}

flash::Problem problem_of(const Fusion& on, const FusionSequences& sequences, std::size_t index,
                          std::int64_t key_head) {
  const SequencePair& sequence = sequences.all()[index];
  const std::int64_t group = on.heads / sequences.key_heads();
  const std::int64_t head = key_head * group;
  const auto queries = [&](const at::Tensor& x) {
    return rows_of_head(x, sequence.batch, head, sequence.query_first);
  };
  const auto keys = [&](const at::Tensor& x) {
    return rows_of_head(x, sequence.batch, key_head, sequence.key_first);
  };
  flash::Problem problem;
  problem.heads = group;
  problem.queries = sequence.queries;
  problem.keys = sequence.keys;
  problem.query = {queries(sequences.query)};
  problem.query_head_stride = sequences.query.stride(1);
  std::vector<flash::Strided> key_parts = {keys(sequences.key)};
  if (sequences.query_rope.defined()) {
    problem.query.push_back(queries(sequences.query_rope));
    problem.rope_head_stride = sequences.query_rope.stride(1);
    key_parts.push_back(keys(sequences.key_rope));
  }
  problem.value_width = sequences.value.size(3);
  problem.key = flash::rows_of(std::move(key_parts));
  problem.value = flash::rows_of({keys(sequences.value)});
  problem.scale = static_cast<float>(on.scale);
  problem.mask = mask_of(on, sequences, index, head);
  problem.bias = on.bias.bias_of(static_cast<std::int64_t>(index), head, on.scale);
  problem.dropout = dropout_of(on, sequence, sequences.scores_before(index), head);
  if (on.sink.defined()) problem.sinks = on.sink.const_data_ptr<float>() + head;
  return problem;
}

}  // namespace npu_sim::ops
