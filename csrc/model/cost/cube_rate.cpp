// What a product costs on the cube, or on the vector cores when the cube lacks the format.
#include <algorithm>

#include "model/core/cube.h"
#include "model/cost/demand.h"

namespace npu_sim::model {
namespace {

bool is_complex(Format format) {
  return format == Format::kComplex32 || format == Format::kComplex64 ||
         format == Format::kComplex128;
}

}  // namespace

bool count_product(Demand& demand, double flops, Format a, Format b, const ChipSpec& chip) {
  demand.flops += flops;
  // Two formats multiply at the slower one's rate: the narrower operand is widened on the way in.
  const double peak = std::min(cube_peak(a, chip), cube_peak(b, chip));
  if (peak > 0) {
    // A cube draws the same power whatever format it multiplies: wider ones do fewer a second.
    demand.cube_flops += flops / peak * chip.cube_fp16_flop_per_s;
    return true;
  }
  // One multiply-add instruction a multiply and add. A complex element is two lanes wide, which
  // its width in bits counts, and each lane takes two real multiply-adds.
  constexpr double kFlopsPerInstruction = 2;
  const Format wide = base::bits(a) >= base::bits(b) ? a : b;
  const double instructions = is_complex(wide) ? 2 : 1;
  demand.vector_ops += vector_lane_ops(flops / kFlopsPerInstruction, instructions, wide, chip);
  return false;
}

void add_product(Demand& demand, double flops, Format a, Format b, const ChipSpec& chip) {
  if (!count_product(demand, flops, a, b, chip)) return;
  demand.cube_seconds += flops / sustained_peak(multiply_format(a, b, chip), chip);
}

}  // namespace npu_sim::model
