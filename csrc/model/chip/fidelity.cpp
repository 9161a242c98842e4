#include "model/chip/fidelity.h"

#include <array>
#include <string>

#include "base/error.h"

namespace npu_sim::model {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"roofline", "tile", "dram"};

}  // namespace

std::string_view name(Fidelity fidelity) { return kNames[static_cast<std::size_t>(fidelity)]; }

Fidelity fidelity_named(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Fidelity>(i);
  }
  throw base::ValueError("fidelity: expected roofline, tile or dram, got \"" + std::string(name) +
                         "\"; tile is the default");
}

}  // namespace npu_sim::model
