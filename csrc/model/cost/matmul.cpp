// Dense and grouped matmul: each operand crosses HiBL once, the cube does 2 m n k.
#include <algorithm>

#include "model/cost/estimate.h"

namespace npu_sim::model {

Demand estimate(const MatmulWork& work, const ChipSpec& chip) {
  const double batch = number(work.batch);
  const double m = number(work.m);
  const double n = number(work.n);
  const double k = number(work.k);
  Demand demand;
  add_product(demand, 2 * batch * m * n * k, work.a, work.b, chip);
  const double weights = (work.b_shared ? std::min(batch, 1.0) : batch) * k * n;
  const double out = stored_bytes(batch * m * n, work.out);
  // An empty result launches a kernel that returns at once: it reads nothing.
  if (out > 0) {
    demand.read_bytes = stored_bytes(batch * m * k, work.a) + stored_bytes(weights, work.b);
    demand.written_bytes = out;
    if (work.adds_input) {
      demand.read_bytes += std::max(number(work.added), stored_bytes(n, work.out));
    }
  }
  return demand;
}

Demand estimate(const GroupedMatmulWork& work, const ChipSpec& chip) {
  const double rows = number(work.rows);
  const double n = number(work.n);
  const double k = number(work.k);
  // Groups that can have a row at all: the largest takes its rows, every other at least one.
  const double others = std::max(0.0, rows - number(work.largest_group));
  const double active = std::min(number(work.groups), work.largest_group > 0 ? 1 + others : rows);
  Demand demand;
  add_product(demand, 2 * rows * n * k, work.a, work.b, chip);
  demand.written_bytes = stored_bytes(rows * n, work.out);
  if (demand.written_bytes > 0) {
    demand.read_bytes = stored_bytes(rows * k, work.a) + stored_bytes(active * n * k, work.b);
  }
  return demand;
}

}  // namespace npu_sim::model
