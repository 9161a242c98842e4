#include "model/memory/residency.h"

namespace npu_sim::model {

double kept_bytes(const ChipSpec& chip) {
  return static_cast<double>(chip.l2_bytes) * chip.l2.retention;
}

Residency residency_among_clean_lines(const Traffic& traffic, double kept) {
  const double moved = traffic.written_bytes + (traffic.streams ? 0 : traffic.read_bytes);
  const double share = moved > kept ? kept / moved : 1;
  return {.absorbed_bytes = traffic.written_bytes * share};
}

}  // namespace npu_sim::model
