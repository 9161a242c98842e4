#include "model/memory/l2.h"

#include <algorithm>
#include <cmath>

namespace npu_sim::model {
namespace {

// Blocks of the allocator start and end on multiples of this, and lines are no longer.
constexpr std::uint64_t kLine = 512;
// Lines of unknown address get addresses that no device has.
constexpr std::uint64_t kUnnamedBase = std::uint64_t{1} << 62;
// A kernel that moves more than this share of the capacity is walked through in steps of it.
constexpr std::uint64_t kStepShare = 16;
constexpr std::uint64_t kMostSteps = 64;
// Bytes that moved may exceed the operands by partial lines; a rest below this share is no operand.
constexpr double kRounding = 0.02;
constexpr double kMostBytes = 4e18;  // keeps sums of a few counts inside 64 bits

AddressRange whole_lines(AddressRange range) {
  if (range.end <= range.begin) return {range.begin, range.begin};
  return {range.begin / kLine * kLine, (range.end + kLine - 1) / kLine * kLine};
}

std::uint64_t count(double bytes) {
  return static_cast<std::uint64_t>(std::clamp(bytes, 0.0, kMostBytes));
}

// Part `step` of `steps` of a range, in whole lines.
AddressRange part(AddressRange range, std::uint64_t step, std::uint64_t steps) {
  if (steps == 1) return range;
  const std::uint64_t lines = range.size() / kLine;
  const std::uint64_t each = lines / steps;
  const std::uint64_t more = lines % steps;  // the first ones get one line more
  const std::uint64_t first = step * each + std::min(step, more);
  const std::uint64_t here = each + (step < more ? 1 : 0);
  return {range.begin + first * kLine, range.begin + (first + here) * kLine};
}

}  // namespace

L2::L2(const ChipSpec& chip)
    : kept_(kept_bytes(chip)), lines_(count(kept_)), next_unnamed_(kUnnamedBase) {}

AddressRange L2::unnamed_range(std::uint64_t bytes) {
  const AddressRange range{next_unnamed_, next_unnamed_ + bytes};
  next_unnamed_ += bytes;
  if (next_unnamed_ > 2 * kUnnamedBase) next_unnamed_ = kUnnamedBase;  // old ones left long ago
  return range;
}

// What a kernel that moves `bytes` touches of its operands.
void L2::list(std::vector<Operand>& operands, std::span<const AddressRange> ranges, double bytes) {
  operands.clear();
  if (bytes <= 0) return;
  double named = 0;
  Operand* largest = nullptr;
  for (const AddressRange& range : ranges) {
    const AddressRange lines = whole_lines(range);
    if (lines.size() == 0) continue;
    operands.push_back({.range = lines});
    named += static_cast<double>(lines.size());
  }
  for (Operand& operand : operands) {
    if (!largest || operand.range.size() > largest->range.size()) largest = &operand;
  }
  const double partial_lines = static_cast<double>(2 * kLine * operands.size());
  if (largest && named > bytes * (1 + kRounding) + partial_lines) {
    const auto size = static_cast<double>(largest->range.size());
    largest->sparse = true;
    largest->unnamed = count(bytes - (named - size));
    largest->hit_share = static_cast<double>(lines_.find(largest->range)) / size;
  } else if (!largest) {
    operands.push_back({.range = {}, .unnamed = count(bytes), .sparse = true});
  }
}

std::uint64_t L2::steps_for(const Traffic& traffic) const {
  const double moved = std::max(0.0, traffic.read_bytes) + std::max(0.0, traffic.written_bytes);
  const double step = static_cast<double>(capacity()) / kStepShare;
  if (moved <= 2 * step) return 1;
  if (moved >= step * kMostSteps) return kMostSteps;
  return static_cast<std::uint64_t>(std::ceil(moved / step));
}

L2::Counts L2::read_step(std::uint64_t step, std::uint64_t steps, bool streams) {
  Counts counts;
  for (const Operand& operand : read_) {
    if (operand.sparse) {
      const auto bytes = static_cast<double>(operand.unnamed) / static_cast<double>(steps);
      const double misses = bytes * (1 - operand.hit_share);
      counts.touched += bytes;
      counts.hit += bytes - misses;
      if (!streams) lines_.read(unnamed_range(count(misses)));
      continue;
    }
    const AddressRange range = part(operand.range, step, steps);
    counts.touched += static_cast<double>(range.size());
    counts.hit += static_cast<double>(streams ? lines_.find(range) : lines_.read(range));
  }
  return counts;
}

void L2::write_step(std::uint64_t step, std::uint64_t steps) {
  for (const Operand& operand : written_) {
    if (operand.sparse) {
      lines_.write(unnamed_range(operand.unnamed / steps));
    } else {
      lines_.write(part(operand.range, step, steps));
    }
  }
}

// Distinct bytes of unknown address: what stays is known without walking.
Residency L2::pass_unnamed(const Traffic& traffic) {
  Residency residency = residency_among_clean_lines(traffic, kept_);
  const double moved = traffic.read_bytes + traffic.written_bytes;
  if (!traffic.streams && moved > 0) {
    const double share = std::min(1.0, kept_ / moved);
    lines_.read(unnamed_range(count(traffic.read_bytes * share)));
  }
  lines_.write(unnamed_range(count(residency.absorbed_bytes)));
  residency.evicted_bytes = static_cast<double>(lines_.old_evicted());
  return residency;
}

Residency L2::pass(const Traffic& traffic, const Footprint& footprint) {
  lines_.next_turn();
  if (footprint.read.empty() && footprint.written.empty()) return pass_unnamed(traffic);
  list(read_, footprint.read, traffic.read_bytes);
  list(written_, footprint.written, traffic.written_bytes);
  const std::uint64_t steps = steps_for(traffic);
  Counts read;
  for (std::uint64_t step = 0; step < steps; ++step) {
    const Counts here = read_step(step, steps, traffic.streams);
    read.touched += here.touched;
    read.hit += here.hit;
    write_step(step, steps);
  }
  Residency residency;
  if (read.touched > 0) residency.hit_bytes = traffic.read_bytes * (read.hit / read.touched);
  const auto kept = static_cast<double>(lines_.own_dirty());
  const auto left = static_cast<double>(lines_.own_evicted());
  if (kept > 0) residency.absorbed_bytes = traffic.written_bytes * (kept / (kept + left));
  residency.evicted_bytes = static_cast<double>(lines_.old_evicted());
  return residency;
}

}  // namespace npu_sim::model
