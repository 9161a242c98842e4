#include "runtime/timeline/sharing.h"

#include <algorithm>
#include <optional>

namespace npu_sim::runtime {
namespace {

using Wide = unsigned __int128;
using Pipes = std::array<std::uint64_t, kSharedPipes.size()>;

// The kernels of one priority whose speed still rises, and what they need together.
struct Rising {
  Pipes need{};
  bool any = false;
};

Rising rising_of(std::span<const Runner> runners, std::span<const bool> fixed, int priority) {
  Rising rising;
  for (std::size_t i = 0; i < runners.size(); ++i) {
    if (fixed[i] || runners[i].priority != priority) continue;
    rising.any = true;
    for (std::size_t pipe = 0; pipe < rising.need.size(); ++pipe) {
      rising.need[pipe] += runners[i].use[pipe];
    }
  }
  return rising;
}

struct Level {
  std::uint64_t speed = kOne;
  std::optional<std::size_t> full_pipe;  // the pipe that stops the rise, if one does
};

// How far all rising kernels can go together before a pipe is full.
Level common_level(const Pipes& need, const Pipes& capacity) {
  Level level;
  for (std::size_t pipe = 0; pipe < need.size(); ++pipe) {
    if (need[pipe] <= capacity[pipe]) continue;
    const auto speed = static_cast<std::uint64_t>(
        (static_cast<Wide>(capacity[pipe]) << kFractionBits) / need[pipe]);
    if (speed < level.speed) level = {speed, pipe};
  }
  return level;
}

void take(Pipes& capacity, const Runner& runner) {
  for (std::size_t pipe = 0; pipe < capacity.size(); ++pipe) {
    const Wide used = (static_cast<Wide>(runner.use[pipe]) * runner.speed) >> kFractionBits;
    capacity[pipe] -= std::min(capacity[pipe], static_cast<std::uint64_t>(used));
  }
}

// Progressive filling of one priority: raise all, stop those on the pipe that fills, go on.
void fill(std::span<Runner> runners, std::span<bool> fixed, int priority, Pipes& capacity) {
  while (true) {
    const Rising rising = rising_of(runners, fixed, priority);
    if (!rising.any) return;
    const Level level = common_level(rising.need, capacity);
    for (std::size_t i = 0; i < runners.size(); ++i) {
      if (fixed[i] || runners[i].priority != priority) continue;
      if (level.full_pipe && runners[i].use[*level.full_pipe] == 0) continue;
      runners[i].speed = level.speed;
      fixed[i] = true;
      take(capacity, runners[i]);
    }
  }
}

// A device has at most this many streams, so at most this many kernels run at once.
constexpr std::size_t kMaxRunners = 1 + 3 * kStreamsPerPool;

}  // namespace

SharedBusy busy_of_shared(const model::KernelTime& time) {
  using model::Pipe;
  const auto busy = [&time](Pipe pipe) { return time.busy_of(pipe); };
  // MTE2 reads for the cube where the kernel uses it, else for the vector core.
  const bool for_cube = busy(Pipe::kCube) > base::SimTime::zero();
  const base::SimTime none = base::SimTime::zero();
  const base::SimTime cube = std::max({busy(Pipe::kCube), busy(Pipe::kMte1), busy(Pipe::kFixpipe),
                                       for_cube ? busy(Pipe::kMte2) : none});
  const base::SimTime vector =
      std::max({busy(Pipe::kVector), busy(Pipe::kMte3), for_cube ? none : busy(Pipe::kMte2)});
  return {cube, vector, busy(Pipe::kL2), busy(Pipe::kHibl), busy(Pipe::kLink)};
}

std::array<std::uint64_t, kSharedPipes.size()> use_of(const Task& kernel) {
  Pipes use{};
  if (kernel.duration <= base::SimTime::zero()) return use;
  for (std::size_t pipe = 0; pipe < use.size(); ++pipe) {
    const auto busy = std::clamp(kernel.busy[pipe], base::SimTime::zero(), kernel.duration);
    use[pipe] = static_cast<std::uint64_t>((static_cast<Wide>(busy.count()) << kFractionBits) /
                                           static_cast<std::uint64_t>(kernel.duration.count()));
  }
  return use;
}

void share(std::span<Runner> runners) {
  Pipes capacity;
  capacity.fill(kOne);
  std::array<bool, kMaxRunners> fixed_store{};
  const std::span<bool> fixed(fixed_store.data(), runners.size());
  for (int priority = kHighestPriority; priority <= kLowestPriority; ++priority) {
    fill(runners, fixed, priority, capacity);
  }
}

}  // namespace npu_sim::runtime
