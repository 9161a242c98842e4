// Wall time of the runtime's hot paths. Run alone on a quiet machine: runtime_benchmark
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>

#include "model/chip/chip_spec.h"
#include "runtime/device.h"
#include "runtime/launch.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::runtime {
namespace {

constexpr int kCalls = 200'000;
constexpr int kRepeats = 15;

// Prints the best mean of a call over the repeats.
template <class Act>
void measure(const char* name, Act act) {
  double best = std::numeric_limits<double>::max();
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) act(i);
    const std::chrono::duration<double, std::nano> wall = std::chrono::steady_clock::now() - start;
    best = std::min(best, wall.count() / kCalls);
  }
  std::printf("%-44s %7.1f ns\n", name, best);
}

void measure_all() {
  const model::Work small = model::VectorWork{.elements = 64};
  measure("record, host-bound, one stream", [&](int) { record({"bench::op", {0, 0}}, small); });
  measure("record, host-bound, 16 shapes", [&](int i) {
    record({"bench::op", {0, 0}}, model::VectorWork{.elements = 64 + i % 16});
  });
  measure("record a view", [](int) { record({"bench::op", {0, 0}}, model::NoWork{}); });
  measure("record, two streams in turn", [&](int i) { record({"bench::op", {0, i % 2}}, small); });
  const model::Work large = model::VectorWork{.elements = 1 << 26, .read = model::Bytes(1 << 28)};
  measure("record, device-bound, one stream", [&](int) { record({"bench::op", {1, 0}}, large); });
  void* kept = allocate({0, 0}, 4096);
  measure("allocate and free 4 KiB", [](int) { deallocate(allocate({0, 0}, 4096)); });
  measure("allocate and free 8 MiB", [](int) { deallocate(allocate({0, 0}, 8 << 20)); });
  measure("device_of", [&](int) {
    if (device_of(kept) != 0) std::puts("wrong device");
  });
  deallocate(kept);
}

}  // namespace
}  // namespace npu_sim::runtime

int main() {
  npu_sim::runtime::measure_all();
  return 0;
}
