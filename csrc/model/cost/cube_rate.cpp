// Which rate a product of two formats gets, and what the vector cores do when the cube has none.
#include <algorithm>

#include "model/cost/demand.h"

namespace npu_sim::model {
namespace {

// Peak of the cube for one operand's format; 0: the cube does not multiply it. A format the chip
// lacks is widened to the next it has, as the kernels convert it on the way in.
double cube_peak(Format format, const ChipSpec& chip) {
  const double fp16 = chip.cube_fp16_flop_per_s;
  const double fp8 = chip.cube_fp8_flop_per_s > 0 ? chip.cube_fp8_flop_per_s : fp16;
  const double int8 = chip.cube_int8_flop_per_s > 0 ? chip.cube_int8_flop_per_s : fp16;
  const double fp4 = chip.cube_fp4_flop_per_s;
  switch (format) {
    case Format::kFp32:  // timed as HF32: no chip here states another fp32 rate of its cube
    case Format::kHf32: return chip.cube_fp32_flop_per_s;
    case Format::kFp16:
    case Format::kBf16: return fp16;
    case Format::kFp8E4m3:
    case Format::kFp8E5m2:
    case Format::kHif8:
    case Format::kMxFp8: return fp8;
    case Format::kInt8:
    case Format::kUint8:
    case Format::kBool: return int8;
    case Format::kMxFp4:
    case Format::kFp4:
      // A chip without 8-bit floats has a 4-bit rate for integers only.
      return fp4 > 0 && chip.cube_fp8_flop_per_s > 0 ? fp4 : fp8;
    case Format::kInt4: return fp4 > 0 ? fp4 : int8;
    case Format::kFp64:
    case Format::kInt64:
    case Format::kInt32:
    case Format::kInt16:
    case Format::kComplex32:
    case Format::kComplex64:
    case Format::kComplex128: return 0;
  }
  return 0;
}

bool is_complex(Format format) {
  return format == Format::kComplex32 || format == Format::kComplex64 ||
         format == Format::kComplex128;
}

}  // namespace

void add_product(Demand& demand, double flops, Format a, Format b, const ChipSpec& chip) {
  demand.flops += flops;
  // Two formats multiply at the slower one's rate: the narrower operand is widened on the way in.
  const double peak = std::min(cube_peak(a, chip), cube_peak(b, chip));
  if (peak > 0) {
    demand.cube_seconds += flops / (peak * chip.cube_efficiency);
    // A cube draws the same power whatever format it multiplies: wider ones do fewer a second.
    demand.cube_flops += flops / peak * chip.cube_fp16_flop_per_s;
    return;
  }
  // One multiply-add instruction a multiply and add. A complex element is two lanes wide, which
  // its width in bits counts, and each lane takes two real multiply-adds.
  constexpr double kFlopsPerInstruction = 2;
  const Format wide = base::bits(a) >= base::bits(b) ? a : b;
  const double instructions = is_complex(wide) ? 2 : 1;
  demand.vector_ops += vector_lane_ops(flops / kFlopsPerInstruction, instructions, wide, chip);
}

}  // namespace npu_sim::model
