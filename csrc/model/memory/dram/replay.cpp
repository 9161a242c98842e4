#include "model/memory/dram/replay.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace npu_sim::model {
namespace {

// A core asks for this much of one operand before the next core's turn comes.
constexpr std::uint64_t kTurnBytes = 2048;
// Operands lie apart; scattered pieces fall into this span.
constexpr std::uint64_t kWrittenBase = std::uint64_t{1} << 36;
constexpr std::uint64_t kScatterBytes = std::uint64_t{1} << 33;

// splitmix64: the same places in every run.
std::uint64_t scramble(std::uint64_t index) {
  std::uint64_t z = (index + 1) * 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

std::uint64_t whole(double bytes, std::uint64_t unit) {
  constexpr double kMost = 1e17;
  const auto count = static_cast<std::uint64_t>(
      std::ceil(std::clamp(bytes, 0.0, kMost) / static_cast<double>(unit)));
  return count * unit;
}

struct Sampler {
  std::uint64_t cores;
  double written_share;  // of the bytes
  double limit;          // bytes
  double debt = 0;
  double bytes = 0;
  std::vector<DramRequest> requests{};

  // The directions in proportion to their bytes.
  bool next_writes() {
    debt += written_share;
    if (debt < 1) return false;
    debt -= 1;
    return true;
  }
  void add(std::uint64_t address, std::uint64_t size, bool write) {
    requests.push_back(
        {write ? kWrittenBase + address : address, static_cast<std::uint32_t>(size), write, 0});
    bytes += static_cast<double>(size);
  }

  // Cores in turn, each through its part of the operands.
  void stream(double all) {
    const std::uint64_t part = whole(all / static_cast<double>(cores) + 1, kTurnBytes);
    std::vector<std::uint64_t> read(cores, 0);
    std::vector<std::uint64_t> written(cores, 0);
    while (bytes < limit) {
      for (std::uint64_t core = 0; core < cores && bytes < limit; ++core) {
        const bool write = next_writes();
        std::uint64_t& done = write ? written[core] : read[core];
        const auto left = static_cast<std::uint64_t>(std::ceil(limit - bytes));
        add(core * part + done, std::min(kTurnBytes, left), write);
        done += kTurnBytes;
      }
    }
  }

  void scatter(std::uint64_t piece) {
    const std::uint64_t places = std::max<std::uint64_t>(1, kScatterBytes / piece);
    for (std::uint64_t index = 0; bytes < limit; ++index) {
      add(scramble(index) % places * piece, piece, next_writes());
    }
  }
};

}  // namespace

DramSpec dram_of(const ChipSpec& chip, std::string_view mapping) {
  constexpr double kPsPerSecond = 1e12;
  DramSpec spec = dram_preset(chip.dram);
  const double channel = static_cast<double>(spec.burst_bytes) /
                         static_cast<double>(spec.timings.burst) * kPsPerSecond;
  spec.channels =
      std::max(1, static_cast<std::int32_t>(std::lround(chip.hibl_bytes_per_s / channel)));
  if (!mapping.empty()) spec.mapping = mapping;
  return spec;
}

double replayed_bytes(const DramSpec& dram) {
  constexpr double kSecondsPerPs = 1e-12;
  constexpr double kIntervals = 2;
  return kIntervals * static_cast<double>(dram.timings.refi) * kSecondsPerPs *
         dram.peak_bytes_per_s();
}

DramResult replay(const DramTraffic& traffic, const ChipSpec& chip, const DramSpec& dram) {
  const double bytes = traffic.read_bytes + traffic.written_bytes;
  if (bytes <= 0) return {};
  Sampler sampler{.cores = static_cast<std::uint64_t>(chip.vector_cores),
                  .written_share = traffic.written_bytes / bytes,
                  .limit = std::min(bytes, replayed_bytes(dram))};
  if (traffic.piece_bytes > 0) {
    sampler.scatter(whole(traffic.piece_bytes, static_cast<std::uint64_t>(chip.transaction_bytes)));
  } else {
    sampler.stream(bytes);
  }
  return simulate_dram(dram, sampler.requests);
}

double dram_seconds(const DramTraffic& traffic, const ChipSpec& chip) {
  const double bytes = traffic.read_bytes + traffic.written_bytes;
  if (bytes <= 0) return 0;
  const DramSpec dram = dram_of(chip);
  const DramResult result = replay(traffic, chip, dram);
  const double efficiency = std::min(1.0, result.bytes_per_s() / dram.peak_bytes_per_s());
  return bytes / (chip.hibl_bytes_per_s * efficiency);
}

}  // namespace npu_sim::model
