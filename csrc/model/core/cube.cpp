#include "model/core/cube.h"

#include <algorithm>
#include <cmath>

namespace npu_sim::model {

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

Format multiply_format(Format a, Format b, const ChipSpec& chip) {
  const double rate_a = cube_peak(a, chip);
  const double rate_b = cube_peak(b, chip);
  if (rate_a != rate_b) return rate_a < rate_b ? a : b;
  return base::bits(a) >= base::bits(b) ? a : b;
}

double cube_bits(Format format, const ChipSpec& chip) {
  constexpr double kHalfBits = 16;
  const double own = base::bits(format);
  // A format the chip lacks is widened to the one whose rate it gets.
  const double peak = cube_peak(format, chip);
  const bool widened = own < kHalfBits && peak > 0 && peak <= chip.cube_fp16_flop_per_s;
  return widened ? kHalfBits : own;
}

double rounded_up(double value, double grain) { return std::ceil(value / grain) * grain; }

double grain_of_k(Format format, const ChipSpec& chip) {
  constexpr double kGrainBits = 32 * 8;
  return kGrainBits / cube_bits(format, chip);
}

double sustained_peak(Format format, const ChipSpec& chip) {
  constexpr double kHalfBits = 16;
  const double narrow =
      cube_bits(format, chip) < kHalfBits ? chip.cube_core.narrow_efficiency : chip.cube_efficiency;
  return cube_peak(format, chip) * std::min(narrow, chip.cube_efficiency);
}

double cube_seconds(double m, double n, double k, double command_k, Format format,
                    const ChipSpec& chip) {
  const CubeCoreSpec& core = chip.cube_core;
  const double arithmetic = 2 * rounded_up(m, core.rows) * rounded_up(n, core.columns) *
                            rounded_up(k, grain_of_k(format, chip)) /
                            (sustained_peak(format, chip) / chip.cube_cores);
  const double commands = std::ceil(k / std::max(1.0, command_k));
  return arithmetic + commands * core.mad_cycles / chip.clock_hz;
}

}  // namespace npu_sim::model
