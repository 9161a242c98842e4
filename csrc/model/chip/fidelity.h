// How closely a chip is modelled.
#pragma once

#include <cstdint>
#include <string_view>

namespace npu_sim::model {

enum class Fidelity : std::uint8_t {
  kRoofline,  // launch floor + the slowest of cube, vector, HiBL; no L2, no tiles
  kTile,      // the default: tiles, pipes of a core, L2 between kernels
  kDram,      // tile, and HiBL request by request
};

[[nodiscard]] std::string_view name(Fidelity fidelity);  // "roofline", "tile", "dram"
// The fidelity called `name`. Throws base::ValueError that lists the names when there is none.
[[nodiscard]] Fidelity fidelity_named(std::string_view name);

}  // namespace npu_sim::model
