// A stack of DRAM, request by request.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/chip/dram_spec.h"

namespace npu_sim::model {

// One transaction; it may span several interleaves, and so channels.
struct DramRequest {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
  bool write = false;
  std::int64_t arrival = 0;  // ps; 0: as soon as a queue has room
};

struct DramResult {
  std::int64_t requests = 0;  // of channels: transactions cut at interleaves
  std::int64_t bytes = 0;     // whole bursts
  std::int64_t end_ps = 0;    // of the last channel
  double mean_end_ps = 0;     // over the channels, idle ones as 0
  std::int64_t row_hits = 0;
  std::int64_t activates = 0;
  std::int64_t refreshes = 0;
  std::int64_t turns = 0;
  double read_latency_ps = 0;  // mean, from entering a queue to the last data

  [[nodiscard]] double bytes_per_s() const;  // bytes / mean end
};

// Every channel takes its requests in order of arrival from a queue of its own; nothing else holds
// a request back, so a channel that is behind does not stop the others.
[[nodiscard]] DramResult simulate_dram(const DramSpec& spec, std::span<const DramRequest> requests);

}  // namespace npu_sim::model
