#include "model/cost/cube_facts.h"

#include "model/core/attention.h"
#include "model/core/cube.h"
#include "model/cost/gemm_demand.h"

namespace npu_sim::model {
namespace {

std::vector<Fact> facts_of(const GemmShape& shape, const ChipSpec& chip) {
  const bool empty = shape.batch <= 0 || shape.m <= 0 || shape.n <= 0 || shape.k <= 0;
  if (empty || cube_peak(shape.cube, chip) <= 0) return {};
  const GemmPlan plan = plan_gemm(shape, chip);
  return {{"tile_m", plan.tile.m, "rows"},
          {"tile_n", plan.tile.n, "columns"},
          {"tile_k", plan.tile.k, "elements a multiply command"},
          {"k_split", plan.tile.k_split, "cores a result"},
          {"tiles", plan.tiles, "tiles"},
          {"waves", plan.waves, "tiles of the busiest core"},
          {"balance", plan.balance, "mean over busiest core"},
          {"fetched", plan.fetched_bytes, "B from L2 to L1"},
          {"workspace", plan.workspace_bytes, "B of partial sums"}};
}

}  // namespace

std::vector<Fact> cube_facts(const MatmulWork& work, const ChipSpec& chip) {
  return facts_of(gemm_shape(work, chip), chip);
}

std::vector<Fact> cube_facts(const GroupedMatmulWork& work, const ChipSpec& chip) {
  return facts_of(gemm_shape(work, chip), chip);
}

std::vector<Fact> cube_facts(const ConvolutionWork& work, const ChipSpec& chip) {
  return facts_of(gemm_shape(work, chip), chip);
}

std::vector<Fact> cube_facts(const AttentionWork& work, const ChipSpec& chip) {
  const bool empty = work.batch <= 0 || work.q_heads <= 0 || scores_of(work) <= 0;
  if (empty || cube_peak(work.format, chip) <= 0) return {};
  const AttentionPlan plan = plan_attention(work, chip);
  return {{"row_tile", plan.row_tile, "query rows"},
          {"kv_tile", plan.kv_tile, "keys a block"},
          {"tasks", plan.tasks, "tiles of query rows"},
          {"kv_splits", plan.kv_splits, "cores a pass over keys"},
          {"blocks", plan.blocks, "blocks of the busiest core"},
          {"fetched", plan.fetched_bytes, "B from L2 to L1"},
          {"exchanged", plan.exchanged_bytes, "B between cube and vector by way of L2"}};
}

}  // namespace npu_sim::model
