#include "model/memory/dram/channel.h"

#include <algorithm>
#include <limits>

namespace npu_sim::model {
namespace {

// A request that the scheduler passed over so often goes next, whatever it costs.
constexpr std::int32_t kMostPassedOver = 128;
constexpr std::int64_t kLongAgo = std::numeric_limits<std::int64_t>::min() / 4;

}  // namespace

DramChannel::DramChannel(const DramSpec& spec, double phase)
    : spec_(spec),
      t_(spec.timings),
      banks_(static_cast<std::size_t>(spec.ranks * spec.bank_groups * spec.banks)),
      group_free_(static_cast<std::size_t>(spec.ranks * spec.bank_groups)) {
  const auto first = static_cast<std::int64_t>(static_cast<double>(t_.refi) * phase);
  for (std::size_t i = 0; i < banks_.size(); ++i) {
    // All banks together, or one after the other through the interval.
    const auto turn = spec.all_bank_refresh ? 0
                                            : t_.refi * static_cast<std::int64_t>(i) /
                                                  static_cast<std::int64_t>(banks_.size());
    banks_[i].next_refresh = (first + turn - 1) % t_.refi + 1;
  }
  activates_.fill(kLongAgo);
  last_activate_ = kLongAgo;
  for (Queue& queue : queues_) queue.entries.reserve(static_cast<std::size_t>(spec.queue));
}

ChannelResult DramChannel::run(std::span<const ChannelRequest> requests) {
  std::size_t next = 0;
  while (true) {
    admit(requests, next);
    if (queues_[0].entries.empty() && queues_[1].entries.empty()) break;
    const bool write = choose_direction();
    serve(choose(write), write);
  }
  return result_;
}

// Lets requests in while they have arrived and their queue has room; waits when nothing is there.
void DramChannel::admit(std::span<const ChannelRequest> requests, std::size_t& next) {
  const auto room = static_cast<std::size_t>(spec_.queue);
  while (next < requests.size()) {
    const ChannelRequest& request = requests[next];
    Queue& queue = queues_[request.write ? 1 : 0];
    if (queue.entries.size() >= room) return;
    if (request.arrival > now_) {
      if (!queues_[0].entries.empty() || !queues_[1].entries.empty()) return;
      now_ = request.arrival;
    }
    queue.entries.push_back({request, std::max(now_, request.arrival)});
    Bank& bank = banks_[static_cast<std::size_t>(request.bank)];
    if (bank.row == request.row) ++bank.waiting_hits[request.write ? 1 : 0];
    ++next;
  }
}

// Reads first; writes wait until many have come together or nothing else is left.
bool DramChannel::choose_direction() {
  const auto reads = queues_[0].entries.size();
  const auto writes = queues_[1].entries.size();
  const auto stay = static_cast<std::size_t>(writing_ ? spec_.drain_low : spec_.drain_high - 1);
  const bool write = reads == 0 || writes > stay;
  return write && writes > 0;
}

// The earliest data on the bus for a request of this direction.
std::int64_t DramChannel::bus_time(bool write) const {
  if (write) return bus_free_ + (writing_ ? 0 : t_.rtw);
  return writing_ ? std::max(bus_free_, write_end_ + t_.wtr + t_.cl) : bus_free_;
}

std::int64_t DramChannel::activate_time(const Bank& bank, std::int64_t admitted) const {
  std::int64_t at = std::max(admitted, bank.can_activate);
  if (bank.row != kClosed) at = std::max(at, std::max(bank.can_precharge, admitted) + t_.rp);
  return std::max({at, last_activate_ + t_.rrd, activates_[next_activate_] + t_.faw});
}

void DramChannel::refresh(Bank& bank) {
  const std::int64_t from = std::max(bank.next_refresh, bank.can_precharge);
  bank.can_activate = from + (bank.row == kClosed ? 0 : t_.rp) + t_.rfc;
  bank.row = kClosed;
  bank.waiting_hits = {};
  bank.next_refresh += t_.refi;
  ++result_.refreshes;
}

// When the request's data can start, no earlier than `floor`; does the refreshes due before.
std::int64_t DramChannel::data_time(const Waiting& waiting, std::int64_t floor) {
  const ChannelRequest& request = waiting.request;
  Bank& bank = banks_[static_cast<std::size_t>(request.bank)];
  const std::int64_t to_column = request.write ? t_.rcd_wr + t_.cwl : t_.rcd_rd + t_.cl;
  floor = std::max(floor, group_free_[static_cast<std::size_t>(request.bank_group)]);
  while (true) {
    const std::int64_t from =
        bank.row == request.row ? bank.activated : activate_time(bank, waiting.admitted);
    const std::int64_t data =
        std::max({floor, from + to_column, waiting.admitted + (request.write ? t_.cwl : t_.cl)});
    if (data < bank.next_refresh) return data;
    refresh(bank);
  }
}

// The request whose data can start first; of equals the oldest. A row that is still wanted by a
// waiting request of this direction stays open.
std::size_t DramChannel::choose(bool write) {
  Queue& queue = queues_[write ? 1 : 0];
  const std::int64_t floor = bus_time(write);
  if (queue.passed_over >= kMostPassedOver) return 0;
  std::size_t best = 0;
  std::int64_t best_time = std::numeric_limits<std::int64_t>::max();
  for (std::size_t i = 0; i < queue.entries.size(); ++i) {
    const Waiting& waiting = queue.entries[i];
    const Bank& bank = banks_[static_cast<std::size_t>(waiting.request.bank)];
    const bool wanted = bank.waiting_hits[write ? 1 : 0] > 0;
    if (wanted && bank.row != waiting.request.row) continue;
    const std::int64_t time = data_time(waiting, floor);
    if (time < best_time) {
      best_time = time;
      best = i;
      if (time == floor) break;
    }
  }
  return best;
}

void DramChannel::count_hits(Bank& bank, std::int32_t index) {
  for (std::size_t direction = 0; direction < queues_.size(); ++direction) {
    std::int32_t hits = 0;
    for (const Waiting& waiting : queues_[direction].entries) {
      hits += waiting.request.bank == index && waiting.request.row == bank.row ? 1 : 0;
    }
    bank.waiting_hits[direction] = hits;
  }
}

void DramChannel::open(Bank& bank, const Waiting& waiting) {
  bank.activated = activate_time(bank, waiting.admitted);
  bank.row = waiting.request.row;
  bank.can_precharge = bank.activated + t_.ras;
  bank.can_activate = bank.activated + t_.ras + t_.rp;
  last_activate_ = bank.activated;
  activates_[next_activate_] = bank.activated;
  next_activate_ = (next_activate_ + 1) % activates_.size();
  ++result_.activates;
  count_hits(bank, waiting.request.bank);
}

void DramChannel::serve(std::size_t index, bool write) {
  Queue& queue = queues_[write ? 1 : 0];
  const Waiting waiting = queue.entries[index];
  const ChannelRequest& request = waiting.request;
  const std::int64_t data = data_time(waiting, bus_time(write));
  Bank& bank = banks_[static_cast<std::size_t>(request.bank)];
  if (bank.row == request.row) {
    ++result_.row_hits;
  } else {
    open(bank, waiting);
  }
  --bank.waiting_hits[write ? 1 : 0];
  const std::int64_t last = data + (request.bursts - 1) * t_.ccd_l;  // start of its last burst
  const std::int64_t end = last + t_.burst;
  bus_free_ = data + request.bursts * t_.burst;
  group_free_[static_cast<std::size_t>(request.bank_group)] = data + request.bursts * t_.ccd_l;
  bank.can_precharge = std::max(bank.can_precharge, write ? end + t_.wr : last - t_.cl + t_.rtp);
  if (write) write_end_ = end;
  if (write != writing_) ++result_.turns;
  writing_ = write;
  now_ = std::max(now_, data - (write ? t_.cwl : t_.cl));
  result_.end = std::max(result_.end, end);
  if (!write) {
    ++result_.reads;
    result_.read_latency_ps += end - waiting.admitted;
  }
  queue.passed_over = index == 0 ? 0 : queue.passed_over + 1;
  queue.entries.erase(queue.entries.begin() + static_cast<std::ptrdiff_t>(index));
}

}  // namespace npu_sim::model
