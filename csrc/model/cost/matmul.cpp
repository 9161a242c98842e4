// Matmul and grouped matmul: planned tile by tile where the cube multiplies the formats.
#include <algorithm>
#include <cmath>

#include "model/core/cube.h"
#include "model/core/gemm.h"
#include "model/cost/estimate.h"
#include "model/cost/gemm_demand.h"

namespace npu_sim::model {
namespace {

// Rows in memory that are no multiple of this start at odd places, and the mover of the grouped
// kernel takes them piecemeal. Plain matmul kernels rearrange such operands; that is not timed, so
// that a larger shape never costs less.
constexpr double kAlignedBits = 32 * 8;

bool misaligned(double row, Format format) {
  return std::fmod(row * base::bits(format), kAlignedBits) != 0;
}

}  // namespace

GemmShape gemm_shape(const MatmulWork& work, const ChipSpec& chip) {
  return {.batch = number(work.batch),
          .m = number(work.m),
          .n = number(work.n),
          .k = number(work.k),
          .a = work.a,
          .b = work.b,
          .cube = multiply_format(work.a, work.b, chip),
          .out = work.out,
          .b_shared = work.b_shared};
}

GemmShape gemm_shape(const GroupedMatmulWork& work, const ChipSpec& chip) {
  return {.m = number(work.rows.rows()),
          .n = number(work.n),
          .k = number(work.k),
          .a = work.a,
          .b = work.b,
          .cube = multiply_format(work.a, work.b, chip),
          .out = work.out,
          .unaligned = misaligned(number(work.k), work.a) || misaligned(number(work.n), work.b),
          .groups = work.rows};
}

Demand estimate(const MatmulWork& work, const ChipSpec& chip) {
  const double batch = number(work.batch);
  const double m = number(work.m);
  const double n = number(work.n);
  const double k = number(work.k);
  Demand demand;
  const bool on_cube = count_product(demand, 2 * batch * m * n * k, work.a, work.b, chip);
  // A shared right operand is read once, however many batches use it.
  const double weights = (work.b_shared ? std::min(batch, 1.0) : batch) * k * n;
  const double out = stored_bytes(batch * m * n, work.out);
  // An empty result launches a kernel that returns at once: it reads nothing.
  if (out <= 0) return demand;
  demand.read_bytes = stored_bytes(batch * m * k, work.a) + stored_bytes(weights, work.b);
  demand.written_bytes = out;
  if (on_cube && k > 0) add_gemm(demand, gemm_shape(work, chip), chip);
  if (work.adds_input) {
    demand.read_bytes += std::max(number(work.added), stored_bytes(n, work.out));
  }
  return demand;
}

Demand estimate(const GroupedMatmulWork& work, const ChipSpec& chip) {
  const double rows = number(work.rows.rows());
  const double n = number(work.n);
  const double k = number(work.k);
  Demand demand;
  const bool on_cube = count_product(demand, 2 * rows * n * k, work.a, work.b, chip);
  demand.written_bytes = stored_bytes(rows * n, work.out);
  if (demand.written_bytes <= 0) return demand;
  demand.read_bytes =
      stored_bytes(rows * k, work.a) + stored_bytes(number(work.rows.groups()) * n * k, work.b);
  if (on_cube && k > 0) add_gemm(demand, gemm_shape(work, chip), chip);
  return demand;
}

}  // namespace npu_sim::model
