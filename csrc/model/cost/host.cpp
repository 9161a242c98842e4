// An operator the card lacks: link in, host work, link out, one after the other.
#include "model/cost/estimate.h"

namespace npu_sim::model {
namespace {

double link_seconds(double bytes, const ChipSpec& chip) {
  if (bytes <= 0) return 0;
  return static_cast<double>(chip.host_link_latency.count()) * 1e-12 +
         bytes / chip.host_link_bytes_per_s;
}

}  // namespace

Demand estimate(const HostWork& work, const ChipSpec& chip) {
  Demand demand;
  const double out = number(work.to_host);
  const double back = number(work.to_device);
  demand.link_seconds = link_seconds(out, chip) + link_seconds(back, chip);
  demand.link_bytes = out + back;
  demand.host_seconds = number(work.host_traffic) / chip.host.memory_bytes_per_s;
  demand.read_bytes = out;
  demand.written_bytes = back;
  demand.serial = true;
  demand.provenance = Provenance::kHostFallback;
  return demand;
}

}  // namespace npu_sim::model
