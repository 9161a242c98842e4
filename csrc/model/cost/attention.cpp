// Fused attention: cube, vector (online softmax) and HiBL overlap; scores stay on the chip.
#include <algorithm>

#include "model/cost/estimate.h"

namespace npu_sim::model {
namespace {

// Vector instructions a score, counted from the FlashAttention algorithm: forward scales, takes
// the running maximum, subtracts, exponentiates, sums and converts; backward recomputes the
// exponential and forms dS = P * (dP - D) and two conversions.
constexpr std::int16_t kForwardLinearOps = 5;
constexpr std::int16_t kBackwardLinearOps = 6;
constexpr std::int16_t kSpecialOps = 1;

// Scores of one head: all pairs, or those on and under the diagonal that ends in the last corner.
double scores_of(const AttentionWork& work) {
  const double q = number(work.q_len);
  const double kv = number(work.kv_len);
  if (!work.causal) return q * kv;
  return q <= kv ? q * kv - q * (q - 1) / 2 : kv * (kv + 1) / 2;
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
  add_product(demand, 2 * macs, work.format, work.format, chip);
  const double ops =
      ops_of(work.backward ? kBackwardLinearOps : kForwardLinearOps, kSpecialOps, chip);
  demand.vector_ops += vector_lane_ops(scores, ops, Format::kFp32, chip);  // softmax is fp32

  const double q_rows = batch * number(work.q_heads) * number(work.q_len);
  const double q_bytes = stored_bytes(q_rows * qk, work.format);
  const double out_bytes = stored_bytes(q_rows * v, work.format);
  const double kv_rows = batch * number(work.kv_heads) * number(work.kv_len);
  const double k_bytes = stored_bytes(kv_rows * qk, work.format);
  const double v_bytes = work.v_in_k ? 0 : stored_bytes(kv_rows * v, work.format);
  const double inputs = q_bytes + k_bytes + v_bytes;
  if (scores == 0) {
    demand.written_bytes = work.backward ? inputs : out_bytes;
    return demand;
  }
  demand.read_bytes = inputs + number(work.mask) + (work.backward ? 2 * out_bytes : 0);
  demand.written_bytes = work.backward ? inputs : out_bytes;
  return demand;
}

}  // namespace npu_sim::model
