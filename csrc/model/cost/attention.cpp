// Fused attention: cube, vector cores and memory overlap; scores stay on the chip.
#include "model/core/attention.h"

#include <algorithm>

#include "model/cost/estimate.h"

namespace npu_sim::model {
namespace {

constexpr double kNsPerSecond = 1e9;

void add_plan(Demand& demand, const AttentionPlan& plan, bool masked, const ChipSpec& chip) {
  demand.cube_seconds += plan.pipes.cube;
  demand.mte1_seconds += plan.pipes.mte1;
  demand.mte2_seconds += plan.pipes.mte2;
  demand.fixpipe_seconds += plan.pipes.fixpipe;
  demand.vector_seconds += plan.vector_seconds;
  demand.core_seconds += plan.core_seconds;
  demand.start_seconds += chip.cube_core.mix_start_ns / kNsPerSecond;
  if (masked) demand.start_seconds += chip.cube_core.mask_start_ns / kNsPerSecond;
  demand.head_seconds += plan.head_seconds;
  demand.sync_seconds += plan.sync_seconds;
  demand.l2_bytes += plan.fetched_bytes + plan.exchanged_bytes;
  demand.provenance = Provenance::kCalibrated;
}

// Element operations of the softmax and of the updates of the result, for energy.
double vector_work(const AttentionWork& work, double scores, const ChipSpec& chip) {
  constexpr std::int16_t kForwardLinearOps = 4;
  constexpr std::int16_t kBackwardLinearOps = 8;
  constexpr std::int16_t kSpecialOps = 1;
  const double ops =
      ops_of(work.backward ? kBackwardLinearOps : kForwardLinearOps, kSpecialOps, chip);
  return vector_lane_ops(scores, ops, Format::kFp32, chip);  // softmax is fp32
}

}  // namespace

Demand estimate(const AttentionWork& work, const ChipSpec& chip) {
  const double batch = number(work.batch);
  const double scores = batch * number(work.q_heads) * scores_of(work);
  const double qk = number(work.qk_dim);
  const double v = number(work.v_dim);
  Demand demand;
  // Forward multiplies q k and p v; backward q k again, then dV, dP, dQ and dK.
  const double macs = scores * (work.backward ? 3 * qk + 2 * v : qk + v);
  const bool on_cube = count_product(demand, 2 * macs, work.format, work.format, chip);
  demand.vector_ops += vector_work(work, scores, chip);

  const double q_rows = batch * number(work.q_heads) * number(work.q_len);
  const double q_bytes = stored_bytes(q_rows * qk, work.format);
  const double out_bytes = stored_bytes(q_rows * v, work.format);
  double kv = number(work.kv_len);
  if (work.window > 0) kv = std::min(kv, number(work.window) + number(work.q_len));
  const double kv_rows = batch * number(work.kv_heads) * kv;
  const double inputs = q_bytes + kv_rows * kv_row_bytes(work);
  demand.written_bytes = work.backward ? inputs : out_bytes;
  if (scores == 0) return demand;
  demand.read_bytes = inputs + number(work.mask) + (work.backward ? 2 * out_bytes : 0);
  if (on_cube) {
    add_plan(demand, plan_attention(work, chip), work.causal && work.q_len > 1, chip);
  }
  demand.l2_bytes += demand.read_bytes + demand.written_bytes;
  return demand;
}

}  // namespace npu_sim::model
