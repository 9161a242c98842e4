#include "model/core/mte.h"

#include <algorithm>
#include <cmath>

#include "model/core/cube.h"

namespace npu_sim::model {
namespace {

constexpr double kBitsPerByte = 8;
constexpr double kScaleBlock = 32;  // elements that share one byte of scale in MX formats

bool has_scales(Format format) { return format == Format::kMxFp8 || format == Format::kMxFp4; }

}  // namespace

double fetch_bytes(double elements, Format format, const ChipSpec& chip) {
  const double data = elements * base::bits(format) / kBitsPerByte;
  if (!has_scales(format)) return data;
  return data + elements / kScaleBlock / chip.cube_core.scale_rate;
}

double mte2_seconds(const GemmShape& shape, const Tile& tile, double k, const ChipSpec& chip) {
  const CubeCoreSpec& core = chip.cube_core;
  const double bytes = shape.a_share * fetch_bytes(tile.m * k, shape.a, chip) +
                       fetch_bytes(tile.n * k, shape.b, chip);
  const double rate =
      shape.unaligned ? core.mte2_unaligned_bytes_per_cycle : core.mte2_bytes_per_cycle;
  return bytes / core.fetch_sharing / (rate * chip.clock_hz);
}

double mte1_seconds(const GemmShape& shape, const Tile& tile, double k, const ChipSpec& chip) {
  const CubeCoreSpec& core = chip.cube_core;
  const double bytes = cube_bits(shape.cube, chip) / kBitsPerByte;
  const double commands = std::ceil(k / std::max(1.0, tile.k));
  const double cycles = tile.m * k * bytes / core.l0a_bytes_per_cycle +
                        tile.n * k * bytes / core.l0b_bytes_per_cycle +
                        2 * commands * core.load_cycles;
  return cycles / chip.clock_hz;
}

}  // namespace npu_sim::model
