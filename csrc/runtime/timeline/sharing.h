// How kernels that run at the same time share one card.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "runtime/timeline/task.h"

namespace npu_sim::runtime {

// Speeds and shares are fixed-point fractions of one; 60 bits keep the error of a kernel of a
// second below a thousandth of a picosecond.
inline constexpr int kFractionBits = 60;
inline constexpr std::uint64_t kOne = std::uint64_t{1} << kFractionBits;

// One running kernel: what it takes of each shared pipe at full speed, and the speed it gets.
struct Runner {
  std::array<std::uint64_t, kSharedPipes.size()> use{};
  int priority = 0;  // smaller is more urgent
  std::uint64_t speed = kOne;
};

// busy / duration of every shared pipe; a kernel without duration uses nothing.
[[nodiscard]] std::array<std::uint64_t, kSharedPipes.size()> use_of(const Task& kernel);

// Sets every speed: at most one, the sum of speed * use at most one on each pipe, max-min fair
// (progressive filling) among equal priorities, urgent priorities served first.
void share(std::span<Runner> runners);

}  // namespace npu_sim::runtime
