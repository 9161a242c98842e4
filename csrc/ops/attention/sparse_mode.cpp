#include "ops/attention/sparse_mode.h"

namespace npu_sim::ops {
namespace {

bool is_first(const std::vector<SequencePair>& sequences, std::size_t index) {
  for (std::size_t s = 0; s < index; ++s) {
    if (sequences[s].queries > 0) return false;
  }
  return true;
}

bool is_last(const std::vector<SequencePair>& sequences, std::size_t index) {
  for (std::size_t s = index + 1; s < sequences.size(); ++s) {
    if (sequences[s].queries > 0) return false;
  }
  return true;
}

}  // namespace

flash::Mask SparseMode::mask_of(const std::vector<SequencePair>& sequences,
                                std::size_t index) const {
  const SequencePair& sequence = sequences[index];
  const flash::Mask causal =
      flash::right_down(flash::kUnlimited, 0, sequence.queries, sequence.keys);
  const flash::Mask band =
      flash::right_down(pre_tokens, next_tokens, sequence.queries, sequence.keys);
  switch (mode) {
    case kDefault: return flash::left_up(pre_tokens, next_tokens);
    case kLeftUpCausal: return flash::left_up(flash::kUnlimited, 0);
    case kRightDownCausal: return causal;
    case kBand: return band;
    case kPrefix:
    case kCompressedPrefix: {
      flash::Mask mask = causal;
      mask.prefix = prefix[index];
      return mask;
    }
    case kRightDownCausalBand: return is_last(sequences, index) ? band : causal;
    case kBandLeftUpCausal:
      return is_first(sequences, index) ? band : flash::left_up(flash::kUnlimited, 0);
    default: return {};
  }
}

}  // namespace npu_sim::ops
