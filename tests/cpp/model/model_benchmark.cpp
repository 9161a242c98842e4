// Wall time of one cost() and of one hash, a kind of Work; built with NPU_SIM_BUILD_BENCHMARKS.
// Prints nanoseconds a call, the median of several repetitions.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

#include "model/cost/cost.h"
#include "model/work/hash.h"
#include "model/work/name.h"
#include "sample_works.h"

namespace {

using npu_sim::model::ChipSpec;
using npu_sim::model::Work;

// Keeps the optimiser from dropping a result nobody reads.
template <class Value>
void keep(const Value& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

template <class Call>
double wall_ns_a_call(Call call) {
  constexpr int kCalls = 200'000;
  std::array<double, 7> repetitions{};
  for (double& wall_ns : repetitions) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) keep(call());
    const std::chrono::duration<double, std::nano> wall = std::chrono::steady_clock::now() - start;
    wall_ns = wall.count() / kCalls;
  }
  std::ranges::sort(repetitions);
  return repetitions[repetitions.size() / 2];
}

}  // namespace

int main() {
  const ChipSpec chip = npu_sim::model::preset("ascend950pr");
  std::printf("%-16s %10s %10s\n", "kind", "cost ns", "hash ns");
  for (const Work& work : npu_sim::model::sample_works()) {
    const double cost_ns = wall_ns_a_call([&] {
      keep(work);
      return npu_sim::model::cost(work, chip);
    });
    const double hash_ns = wall_ns_a_call([&] {
      keep(work);
      return npu_sim::model::WorkHash{}(work);
    });
    std::printf("%-16s %10.1f %10.1f\n", std::string(npu_sim::model::name(work)).c_str(), cost_ns,
                hash_ns);
  }
  return 0;
}
