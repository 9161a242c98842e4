#include "model/memory/dram/dram.h"

#include <algorithm>

#include "model/memory/dram/address_map.h"
#include "model/memory/dram/channel.h"

namespace npu_sim::model {
namespace {

// Requests cut at interleaves, and the channel of each.
struct Cut {
  std::vector<ChannelRequest> requests;
  std::vector<std::int32_t> channels;
};

Cut cut_requests(const DramSpec& spec, std::span<const DramRequest> requests) {
  const AddressMap map(spec);
  const auto burst = static_cast<std::uint64_t>(spec.burst_bytes);
  const auto interleave = static_cast<std::uint64_t>(spec.interleave_bytes);
  Cut cut;
  cut.requests.reserve(requests.size());
  cut.channels.reserve(requests.size());
  for (const DramRequest& request : requests) {
    std::uint64_t at = request.address / burst * burst;
    const std::uint64_t end = request.address + request.bytes;
    while (at < end) {
      const std::uint64_t until = std::min(end, (at / interleave + 1) * interleave);
      const DramPlace place = map.place(at);
      cut.requests.push_back({.arrival = request.arrival,
                              .row = place.row,
                              .bank = place.bank,
                              .bank_group = static_cast<std::int16_t>(place.bank_group),
                              .bursts = static_cast<std::int8_t>((until - at + burst - 1) / burst),
                              .write = request.write});
      cut.channels.push_back(place.channel);
      at = until;
    }
  }
  return cut;
}

// The requests of channel after channel, each in the order in which they came.
struct Sorted {
  std::vector<ChannelRequest> requests;
  std::vector<std::size_t> begin;  // a channel, and one past the last
};

Sorted by_channel(const DramSpec& spec, const Cut& cut) {
  Sorted sorted;
  sorted.begin.assign(static_cast<std::size_t>(spec.channels) + 1, 0);
  for (const std::int32_t channel : cut.channels) {
    ++sorted.begin[static_cast<std::size_t>(channel) + 1];
  }
  for (std::size_t i = 1; i < sorted.begin.size(); ++i) sorted.begin[i] += sorted.begin[i - 1];
  std::vector<std::size_t> next(sorted.begin.begin(), sorted.begin.end() - 1);
  sorted.requests.resize(cut.requests.size());
  for (std::size_t i = 0; i < cut.requests.size(); ++i) {
    sorted.requests[next[static_cast<std::size_t>(cut.channels[i])]++] = cut.requests[i];
  }
  return sorted;
}

}  // namespace

double DramResult::bytes_per_s() const {
  constexpr double kPsPerSecond = 1e12;
  return mean_end_ps > 0 ? static_cast<double>(bytes) / mean_end_ps * kPsPerSecond : 0;
}

DramResult simulate_dram(const DramSpec& spec, std::span<const DramRequest> requests) {
  const Sorted sorted = by_channel(spec, cut_requests(spec, requests));
  DramResult total;
  double ends = 0;
  double latency = 0;
  std::int64_t reads = 0;
  for (std::size_t channel = 0; channel + 1 < sorted.begin.size(); ++channel) {
    const std::span<const ChannelRequest> own(sorted.requests.data() + sorted.begin[channel],
                                              sorted.begin[channel + 1] - sorted.begin[channel]);
    if (own.empty()) continue;
    const double phase = 1 - static_cast<double>(channel) / spec.channels;
    const ChannelResult result = DramChannel(spec, phase).run(own);
    total.end_ps = std::max(total.end_ps, result.end);
    ends += static_cast<double>(result.end);
    total.row_hits += result.row_hits;
    total.activates += result.activates;
    total.refreshes += result.refreshes;
    total.turns += result.turns;
    latency += static_cast<double>(result.read_latency_ps);
    reads += result.reads;
  }
  for (const ChannelRequest& request : sorted.requests) {
    total.bytes += std::int64_t{request.bursts} * spec.burst_bytes;
  }
  total.requests = static_cast<std::int64_t>(sorted.requests.size());
  total.mean_end_ps = ends / spec.channels;
  total.read_latency_ps = reads > 0 ? latency / static_cast<double>(reads) : 0;
  return total;
}

}  // namespace npu_sim::model
