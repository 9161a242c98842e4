// The argument sparse_mode of attention operators: which keys a query may see.
#pragma once

#include <cstdint>

#include "ops/attention/flash.h"
#include "ops/attention/layout.h"
#include "ops/integers.h"

namespace npu_sim::ops {

// Modes as documented for npu_fusion_attention. Those of a compressed mask say by themselves what
// is seen; the others need the whole mask.
struct SparseMode {
  enum Mode : std::int64_t {
    kDefault = 0,
    kWholeMask = 1,
    kLeftUpCausal = 2,
    kRightDownCausal = 3,
    kBand = 4,
    kPrefix = 5,
    kCompressedPrefix = 6,
    kRightDownCausalBand = 7,  // TND: mode 3, but the last sequence is a band
    kBandLeftUpCausal = 8,     // TND: mode 2, but the first sequence is a band
  };

  std::int64_t mode = kDefault;
  std::int64_t pre_tokens = 0;
  std::int64_t next_tokens = 0;
  Integers prefix;  // of each sequence, in modes 5 and 6

  [[nodiscard]] bool reads_mask() const {
    return mode == kDefault || mode == kWholeMask || mode == kPrefix;
  }

  // What sequence `index` of `sequences` sees, apart from the mask's own values.
  [[nodiscard]] flash::Mask mask_of(const std::vector<SequencePair>& sequences,
                                    std::size_t index) const;
};

}  // namespace npu_sim::ops
