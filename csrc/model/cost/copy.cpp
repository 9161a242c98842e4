// Copies: within the device, into the cores, over the host link, to a peer.
#include <algorithm>
#include <cmath>

#include "model/core/vector.h"
#include "model/cost/estimate.h"

namespace npu_sim::model {
namespace {

constexpr double kPerNs = 1e-9;
constexpr double kBlockBytes = 32;

double seconds_of(base::SimTime time) { return static_cast<double>(time.count()) * 1e-12; }

bool is_strided(const CopyWork& work) {
  return work.run.count() > 0 && work.run < std::max(work.read, work.written);
}

// Bytes that move for `bytes` in pieces of `run`: whole transactions, but no more than the pieces
// span, nor than neighbouring pieces that share a line let through.
double strided_bytes(double bytes, const CopyWork& work, const ChipSpec& chip) {
  const double run = number(work.run);
  if (run <= 0 || run >= bytes || work.target != CopyTarget::kMemory) return bytes;
  const double transaction = number(chip.transaction_bytes);
  const double moved = bytes / run * std::ceil(run / transaction) * transaction;
  const double limit = work.span.count() > 0 ? std::max(number(work.span), bytes)
                                             : bytes * chip.strided_traffic_limit;
  return std::clamp(moved, bytes, limit);
}

// Share of the cores' rate when rows start between transactions.
double aligned_rate(const CopyWork& work, const ChipSpec& chip) {
  const bool aligned = work.pitch.count() % chip.transaction_bytes == 0;
  if (aligned) return 1;
  return work.target == CopyTarget::kL1 ? chip.vector_core.nz_unaligned_rate
                                        : chip.vector_core.unaligned_rate;
}

// Seconds of the busiest core's transfer commands for `bytes` of all cores.
double command_seconds(double bytes, double cores, const CopyWork& work, const ChipSpec& chip) {
  if (!is_strided(work)) return 0;
  const VectorCoreSpec& core = chip.vector_core;
  const double runs = bytes / number(work.run) / cores;
  if (work.target == CopyTarget::kL1) return runs * core.nz_piece_ns * kPerNs;
  if (work.descriptor_runs == 1) return runs * core.descriptor_ns * kPerNs;
  const bool odd =
      work.target == CopyTarget::kMemory && std::fmod(number(work.run), kBlockBytes) != 0;
  double by_run = runs * (odd ? core.odd_piece_ns : core.piece_ns) * kPerNs;
  if (work.descriptor_runs > 1) by_run += runs / work.descriptor_runs * core.descriptor_ns * kPerNs;
  // Short pieces are rather gathered from whole rows in the scratchpad, 4 bytes a lane.
  const double lanes = bytes / cores / sizeof(float) / vector_lanes(chip);
  return work.target == CopyTarget::kUb
             ? by_run
             : std::min(by_run, lanes * core.gather_cycles / chip.clock_hz);
}

// Seconds a core takes to turn its part of rows into columns in the scratchpad.
double transpose_seconds(double bytes, double cores, const CopyWork& work, const ChipSpec& chip) {
  if (work.transposed.count() <= 0) return 0;
  // A lane is 32 or 16 bits wide.
  const double narrow = number(work.transposed) < sizeof(float) ? 2 : 1;
  const double registers = bytes / number(work.transposed) / cores / (vector_lanes(chip) * narrow);
  return registers * chip.vector_core.gather_cycles / chip.clock_hz;
}

Demand into_cores(const CopyWork& work, const ChipSpec& chip) {
  Demand demand;
  const double once = number(work.read);
  const double swept = once * std::max(1, work.sweeps);
  const bool l1 = work.target == CopyTarget::kL1;
  const double cores = number(l1 ? chip.cube_cores : chip.vector_cores);
  const double unaligned = hibl_seconds(swept, 0, chip) * (1 / aligned_rate(work, chip) - 1);
  demand.read_bytes = work.sliced ? once : swept;
  const double commands = command_seconds(swept, cores, work, chip);
  overlap(demand,
          {.cores = cores,
           .read_bytes = swept,
           .written_bytes = 0,
           .memory_read = demand.read_bytes,
           .command_seconds = commands},
          chip);
  if (l1) demand.mte2_seconds = std::max(swept / cores / chip.vector_core.nz_bytes_per_s, commands);
  demand.tail_seconds += unaligned;
  return demand;
}

Demand within_device(const CopyWork& work, const ChipSpec& chip) {
  Demand demand;
  const double moved = number(std::max(work.read, work.written));
  demand.read_bytes = strided_bytes(number(work.read), work, chip);
  demand.written_bytes = number(work.written);
  const double cores = cores_for(number(work.read) + number(work.written), chip);
  overlap(demand,
          {.cores = cores,
           .read_bytes = demand.read_bytes,
           .written_bytes = demand.written_bytes,
           .memory_read = demand.read_bytes,
           .vector_seconds = transpose_seconds(moved, cores, work, chip),
           .command_seconds =
               work.transposed.count() > 0 ? 0 : command_seconds(moved, cores, work, chip)},
          chip);
  if (is_strided(work)) demand.start_seconds += chip.vector_core.gather_start_ns * kPerNs;
  return demand;
}

}  // namespace

Demand estimate(const CopyWork& work, const ChipSpec& chip) {
  if (work.target != CopyTarget::kMemory) return into_cores(work, chip);
  Demand demand;
  const double moved = number(std::max(work.read, work.written));
  switch (work.route) {
    case CopyRoute::kWithinDevice: return within_device(work, chip);
    case CopyRoute::kHostToDevice: demand.written_bytes = number(work.written); break;
    case CopyRoute::kDeviceToHost:
    case CopyRoute::kPeer:  // what is written there is another memory's traffic
      demand.read_bytes = number(work.read);
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
