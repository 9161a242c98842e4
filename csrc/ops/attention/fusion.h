// What npu_fusion_attention, its versions and their gradients share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/attention/flash.h"
#include "ops/attention/layout.h"
#include "ops/attention/position_bias.h"
#include "ops/attention/sparse_mode.h"
#include "ops/integers.h"

namespace npu_sim::ops {

// The arguments of a call, undefined tensors where none was given.
struct Fusion {
  const char* op = nullptr;
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  at::Tensor query_rope;
  at::Tensor key_rope;
  std::int64_t heads = 0;
  std::string layout;
  PositionBias bias;
  at::Tensor padding_mask;
  at::Tensor mask;
  at::Tensor sink;
  double scale = 1;
  double keep_prob = 1;
  at::Tensor dropout_mask;
  std::int64_t seed = 0;
  std::int64_t offset = 0;
  SparseMode sparse;
  std::optional<Integers> query_sums;  // TND
  std::optional<Integers> key_sums;
  std::string softmax_layout;

  [[nodiscard]] bool drops() const { return keep_prob < 1; }
  [[nodiscard]] bool is_packed() const { return layout == "TND"; }
};

// Puts `layout` into capitals. Raises ValueError, TypeError or NotImplementedError on what the
// card's kernels do not take.
void check(Fusion& on);

// The operands as [batch, heads, tokens, width], and where sequences lie in them.
class FusionSequences {
 public:
  // Of a checked call. Raises ValueError where lengths do not fit.
  explicit FusionSequences(const Fusion& on);

  [[nodiscard]] const std::vector<SequencePair>& all() const { return sequences_; }
  [[nodiscard]] std::int64_t key_heads() const { return key.size(1); }
  [[nodiscard]] std::int64_t width() const {
    return query.size(3) + (query_rope.defined() ? query_rope.size(3) : 0);
  }
  // Scores of all heads of all sequences: elements of a dropout mask.
  [[nodiscard]] std::int64_t scores() const { return scores_before_.back(); }
  // Scores before those of sequence `index`.
  [[nodiscard]] std::int64_t scores_before(std::size_t index) const {
    return scores_before_[index];
  }
  // Sizes of softmax_max and softmax_sum but for the last, 8.
  [[nodiscard]] std::vector<std::int64_t> statistics_sizes() const;
  // Sizes of the attention's result as [batch, heads, tokens, width].
  [[nodiscard]] std::vector<std::int64_t> out_sizes() const;

  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  at::Tensor query_rope;
  at::Tensor key_rope;

 private:
  bool packed_ = false;
  std::vector<SequencePair> sequences_;
  Integers scores_before_ = {0};
};

// Raises ValueError unless the prefixes are right for modes 5 and 6.
void check_prefixes(const Fusion& on, const std::vector<SequencePair>& sequences);

// `heads`, [batch, heads, tokens, width], or a copy where the elements of a row lie apart.
[[nodiscard]] at::Tensor with_whole_rows(const at::Tensor& heads);

// The rows of one head of `tensor` [batch, heads, tokens, width] from `token` on.
[[nodiscard]] flash::Strided rows_of_head(const at::Tensor& tensor, std::int64_t batch,
                                          std::int64_t head, std::int64_t token);

// Statistics of sequence `index` in fp32 tensors of statistics_sizes(), from head `head` on. In TND
// they lie sequence after sequence as [heads, tokens], or in softmax_layout TND by token.
struct StatisticsTensors {
  at::Tensor greatest;
  at::Tensor sum;
};
[[nodiscard]] flash::Statistics statistics_of(const Fusion& on, const SequencePair& sequence,
                                              std::int64_t head, const StatisticsTensors& tensors);

// The problem of sequence `index` and key head `key_head`, without its result and statistics. `on`
// and `sequences` must outlive it.
[[nodiscard]] flash::Problem problem_of(const Fusion& on, const FusionSequences& sequences,
                                        std::size_t index, std::int64_t key_head);

}  // namespace npu_sim::ops
