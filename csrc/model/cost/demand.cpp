#include "model/cost/demand.h"

#include <algorithm>
#include <cmath>

#include "model/memory/dram/replay.h"

namespace npu_sim::model {
namespace {

constexpr double kPsPerSecond = 1e12;
constexpr double kPjPerJoule = 1e12;
// Counts and times are cut here, so that adding two of them cannot overflow: 2^62 bytes, 2^61 ps
// (26 days).
constexpr double kLargestCount = 4611686018427387904.0;
constexpr double kLongestPs = kLargestCount / 2;

std::int64_t whole(double value, double largest = kLargestCount) {
  return static_cast<std::int64_t>(std::ceil(std::clamp(value, 0.0, largest)));
}

base::SimTime to_time(double seconds) {
  return base::SimTime(whole(seconds * kPsPerSecond, kLongestPs));
}

// Energy of the demand: idle power all the time, and each event's own. Power management keeps a
// card under its TDP, so the sum is cut there.
base::Picojoules energy_of(const Demand& demand, double hibl_bytes, base::SimTime duration,
                           const ChipSpec& chip) {
  const double seconds = static_cast<double>(duration.count()) / kPsPerSecond;
  const double events =
      demand.cube_flops * chip.cube_fp16_pj_per_flop + demand.vector_ops * chip.vector_pj_per_op +
      hibl_bytes * chip.hibl_pj_per_byte + demand.link_bytes * chip.link_pj_per_byte;
  const double total = chip.idle_watts * seconds * kPjPerJoule + events;
  const double limit = std::floor(chip.tdp_watts * seconds * kPjPerJoule);
  return base::Picojoules(
      static_cast<std::int64_t>(std::clamp(total, 0.0, std::min(limit, kLargestCount))));
}

double memory_seconds(const Demand& demand, double read, double written, const ChipSpec& chip) {
  if (chip.fidelity != Fidelity::kDram) return hibl_seconds(read, written, chip);
  return dram_seconds(
      {.read_bytes = read, .written_bytes = written, .piece_bytes = demand.piece_bytes}, chip);
}

}  // namespace

double hibl_seconds(double read, double written, const ChipSpec& chip) {
  const double paired = 2 * std::min(read, written);
  const double surplus = std::abs(read - written);
  return (paired / chip.hibl_mixed_efficiency + surplus / chip.hibl_read_efficiency) /
         chip.hibl_bytes_per_s;
}

Residency alone(const Demand& demand, const ChipSpec& chip) {
  return residency_among_clean_lines(traffic_of(demand), kept_bytes(chip));
}

// What is left of a plan at roofline fidelity: peaks, and bytes that all cross HiBL.
Demand roofline_of(Demand demand, const ChipSpec& chip) {
  demand.cube_seconds = demand.cube_flops / chip.cube_fp16_flop_per_s / chip.cube_efficiency;
  demand.vector_seconds = 0;
  demand.mte1_seconds = demand.mte2_seconds = demand.mte3_seconds = demand.fixpipe_seconds = 0;
  demand.core_seconds = 0;
  demand.start_seconds = demand.head_seconds = demand.tail_seconds = demand.sync_seconds = 0;
  demand.l2_bytes = 0;
  return demand;
}

KernelTime settle(const Demand& demand, const Residency& answered, const ChipSpec& chip) {
  const Residency residency = chip.fidelity == Fidelity::kRoofline ? Residency{} : answered;
  KernelTime time;
  const auto set = [&time](Pipe pipe, double seconds) {
    time.busy[static_cast<std::size_t>(pipe)] = to_time(seconds);
  };
  const double moved = demand.read_bytes + demand.written_bytes;
  const double hibl_read = demand.read_bytes - residency.hit_bytes;
  const double hibl_written =
      demand.written_bytes - residency.absorbed_bytes + residency.evicted_bytes;
  set(Pipe::kCube, demand.cube_seconds);
  set(Pipe::kVector,
      std::max(demand.vector_seconds, demand.vector_ops / chip.vector_fp32_op_per_s));
  set(Pipe::kMte1, demand.mte1_seconds);
  set(Pipe::kMte2, demand.mte2_seconds);
  set(Pipe::kMte3, demand.mte3_seconds);
  set(Pipe::kFixpipe, demand.fixpipe_seconds);
  set(Pipe::kL2, std::max(demand.l2_bytes, moved) / chip.l2_bytes_per_s);
  set(Pipe::kHibl, memory_seconds(demand, hibl_read, hibl_written, chip));
  set(Pipe::kLink, demand.link_seconds);
  set(Pipe::kHost, demand.host_seconds);

  const auto slowest = std::max_element(time.busy.begin(), time.busy.end());
  const base::SimTime work = demand.serial ? to_time(demand.link_seconds + demand.host_seconds)
                                           : std::max(*slowest, to_time(demand.core_seconds));
  const base::SimTime fixed =
      chip.launch_floor + to_time(demand.start_seconds + demand.head_seconds + demand.tail_seconds +
                                  demand.sync_seconds);
  time.bound = {.launch = work <= fixed, .pipe = static_cast<Pipe>(slowest - time.busy.begin())};
  time.duration = fixed + std::max(work, *slowest);

  time.bytes_read = base::Bytes(whole(demand.read_bytes));
  time.bytes_written = base::Bytes(whole(demand.written_bytes));
  time.bytes_hit = base::Bytes(whole(residency.hit_bytes));
  time.bytes_l2 = base::Bytes(whole(std::max(demand.l2_bytes, moved)));
  time.bytes_hibl_read = base::Bytes(whole(hibl_read));
  time.bytes_hibl_written = base::Bytes(whole(hibl_written));
  time.flops = base::Flops(whole(demand.flops));
  time.energy = energy_of(demand, hibl_read + hibl_written, time.duration, chip);
  time.provenance = demand.provenance;
  return time;
}

double vector_lanes(const ChipSpec& chip) {
  return chip.vector_fp32_op_per_s / (chip.clock_hz * chip.vector_cores);
}

double ops_of(std::int16_t linear, std::int16_t special, const ChipSpec& chip) {
  return std::max<double>(0, linear) + std::max<double>(0, special) / chip.special_rate;
}

double vector_lane_ops(double elements, double ops, Format format, const ChipSpec& chip) {
  constexpr int kLaneBits = 32;
  const int width = base::bits(format);
  // Formats under 16 bits are converted and computed in 16; wider than 32 take several lanes.
  const double lanes = width < kLaneBits ? chip.vector_fp32_op_per_s / chip.vector_fp16_op_per_s
                                         : static_cast<double>(width) / kLaneBits;
  return elements * ops * lanes;
}

double stored_bytes(double elements, Format format) {
  constexpr double kBitsPerByte = 8;
  constexpr double kScaleBlock = 32;  // elements that share one byte of scale in MX formats
  const double data = elements * base::bits(format) / kBitsPerByte;
  const bool scaled = format == Format::kMxFp8 || format == Format::kMxFp4;
  return scaled ? data + elements / kScaleBlock : data;
}

}  // namespace npu_sim::model
