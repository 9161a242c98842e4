// Fused attention on pairs of a cube core and its vector cores, block of scores by block.
#pragma once

#include "model/core/gemm.h"
#include "model/work/cube_work.h"

namespace npu_sim::model {

// What the cores do, memory apart. Seconds of the busiest core.
struct AttentionPlan {
  double tasks = 0;            // tiles of query rows, each with its own pass over keys
  double row_tile = 0;         // query rows of a tile
  double kv_tile = 0;          // keys of a block
  double blocks = 0;           // blocks of scores of the busiest core
  double kv_splits = 1;        // cores that share one pass over keys
  double vector_seconds = 0;   // of each vector core
  PipeSeconds pipes;           // fixpipe: scores and results from L0C
  double core_seconds = 0;     // with stages that wait for one another
  double head_seconds = 0;     // first block through all stages
  double sync_seconds = 0;     // combine of kv splits
  double fetched_bytes = 0;    // L2 -> L1, all cores
  double exchanged_bytes = 0;  // between cube and vector cores by way of L2
};

[[nodiscard]] AttentionPlan plan_attention(const AttentionWork& work, const ChipSpec& chip);

// Bytes of a key and its value in memory.
[[nodiscard]] double kv_row_bytes(const AttentionWork& work);

// Scores of one head: all pairs, or those that causality and the window leave.
[[nodiscard]] double scores_of(const AttentionWork& work);

}  // namespace npu_sim::model
