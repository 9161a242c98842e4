// One DRAM channel: first-ready first-come-first-served scheduling, request by request.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/chip/dram_spec.h"

namespace npu_sim::model {

// A request as its channel sees it: `bursts` column accesses to one row.
struct ChannelRequest {
  std::int64_t arrival = 0;  // ps
  std::int64_t row = 0;
  std::int32_t bank = 0;
  std::int16_t bank_group = 0;
  std::int8_t bursts = 1;
  bool write = false;
};

struct ChannelResult {
  std::int64_t end = 0;  // ps, of the last data
  std::int64_t row_hits = 0;
  std::int64_t activates = 0;
  std::int64_t refreshes = 0;
  std::int64_t turns = 0;            // of the bus, from reading to writing or back
  std::int64_t read_latency_ps = 0;  // summed from entering the queue to the last data
  std::int64_t reads = 0;
};

// Time advances from one request's data to the next; nothing is stepped by cycle. An activate is
// placed at the earliest time its bank, tRRD and tFAW allow after the request came, which may lie
// before data that was scheduled already: banks prepare while others transfer. Data of bank groups
// alternate, so that only a stretch in one group pays tCCD_L.
class DramChannel {
 public:
  // The first refresh comes after `phase` of its interval, in (0, 1]: channels are staggered.
  DramChannel(const DramSpec& spec, double phase);

  // Serves requests in order of arrival as far as the queues let them in.
  ChannelResult run(std::span<const ChannelRequest> requests);

 private:
  static constexpr std::int64_t kClosed = -1;
  struct Bank {
    std::int64_t row = kClosed;
    std::int64_t activated = 0;
    std::int64_t can_precharge = 0;
    std::int64_t can_activate = 0;
    std::int64_t next_refresh = 0;
    std::array<std::int32_t, 2> waiting_hits{};  // by direction
  };
  struct Waiting {
    ChannelRequest request;
    std::int64_t admitted = 0;
  };
  struct Queue {
    std::vector<Waiting> entries;  // oldest first
    std::int32_t passed_over = 0;  // how often the oldest was
  };

  void admit(std::span<const ChannelRequest> requests, std::size_t& next);
  [[nodiscard]] bool choose_direction();
  [[nodiscard]] std::int64_t bus_time(bool write) const;
  [[nodiscard]] std::int64_t activate_time(const Bank& bank, std::int64_t admitted) const;
  [[nodiscard]] std::int64_t data_time(const Waiting& waiting, std::int64_t floor);
  [[nodiscard]] std::size_t choose(bool write);
  void serve(std::size_t index, bool write);
  void open(Bank& bank, const Waiting& waiting);
  void count_hits(Bank& bank, std::int32_t index);
  void refresh(Bank& bank);

  const DramSpec& spec_;
  const DramTimings& t_;
  std::vector<Bank> banks_;
  std::vector<std::int64_t> group_free_;
  std::array<Queue, 2> queues_;              // reads, writes
  std::array<std::int64_t, 4> activates_{};  // the last four, for tFAW
  std::size_t next_activate_ = 0;
  std::int64_t last_activate_ = 0;
  std::int64_t now_ = 0;  // when the last served request gave its place free
  std::int64_t bus_free_ = 0;
  std::int64_t write_end_ = 0;
  bool writing_ = false;
  ChannelResult result_;
};

}  // namespace npu_sim::model
