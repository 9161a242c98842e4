// Copies: within the device, over the host link, to a peer.
#include <algorithm>
#include <cmath>

#include "model/cost/estimate.h"

namespace npu_sim::model {
namespace {

// Bytes that move for `bytes` in pieces of `run`: whole transactions, but no more than the pieces
// span, nor than neighbouring pieces that share a line let through.
double strided_bytes(double bytes, const CopyWork& work, const ChipSpec& chip) {
  const double run = number(work.run);
  if (run <= 0 || run >= bytes) return bytes;
  const double transaction = number(chip.transaction_bytes);
  const double moved = bytes / run * std::ceil(run / transaction) * transaction;
  const double limit = work.span.count() > 0 ? std::max(number(work.span), bytes)
                                             : bytes * chip.strided_traffic_limit;
  return std::clamp(moved, bytes, limit);
}

double seconds_of(base::SimTime time) { return static_cast<double>(time.count()) * 1e-12; }

}  // namespace

Demand estimate(const CopyWork& work, const ChipSpec& chip) {
  Demand demand;
  const double read = number(work.read);
  const double written = number(work.written);
  const double moved = std::max(read, written);
  switch (work.route) {
    case CopyRoute::kWithinDevice:
      demand.read_bytes = strided_bytes(read, work, chip);
      demand.written_bytes = written;
      return demand;
    case CopyRoute::kHostToDevice: demand.written_bytes = written; break;
    case CopyRoute::kDeviceToHost:
    case CopyRoute::kPeer:  // what is written there is another memory's traffic
      demand.read_bytes = read;
      break;
  }
  if (moved <= 0) return demand;
  const bool peer = work.route == CopyRoute::kPeer;
  demand.link_bytes = moved;
  demand.link_seconds = seconds_of(peer ? chip.peer_link_latency : chip.host_link_latency) +
                        moved / (peer ? chip.peer_link_bytes_per_s : chip.host_link_bytes_per_s);
  return demand;
}

}  // namespace npu_sim::model
