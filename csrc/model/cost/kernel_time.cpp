#include "model/cost/kernel_time.h"

namespace npu_sim::model {

std::string_view name(Pipe pipe) {
  constexpr std::array<std::string_view, kPipeCount> kNames = {
      "cube", "vector", "mte1", "mte2", "mte3", "fixpipe", "l2", "hibl", "link", "host"};
  return kNames[static_cast<std::size_t>(pipe)];
}

std::string_view name(Bound bound) { return bound.launch ? "launch" : name(bound.pipe); }

std::string_view name(Provenance provenance) {
  constexpr std::array<std::string_view, 5> kNames = {
      "roofline", "calibrated", "micro-architectural", "host-fallback", "undescribed"};
  return kNames[static_cast<std::size_t>(provenance)];
}

}  // namespace npu_sim::model
