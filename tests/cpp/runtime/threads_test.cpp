#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "chip_for_tests.h"
#include "runtime/event.h"
#include "runtime/trace.h"

namespace npu_sim::runtime {
namespace {

constexpr int kThreads = 8;
constexpr int kRounds = 500;

// What one thread does: allocate, write, launch, pass blocks between streams and devices, free.
void work_on(int thread) {
  const StreamId stream{thread % 2, 1 + thread};
  const StreamId other{(thread + 1) % 2, 0};
  for (int round = 0; round < kRounds; ++round) {
    const std::size_t bytes = 512 * static_cast<std::size_t>(1 + round % 64);
    void* memory = allocate(stream, bytes);
    std::memset(memory, thread, bytes);
    record({"test::op", stream}, streaming(round % 3));
    Event event(true);
    event.record(stream);
    event.block(other);
    if (round % 8 == 0) record_stream(memory, other);
    if (round % 50 == 0) synchronize(stream);
    EXPECT_EQ(static_cast<unsigned char*>(memory)[bytes - 1], thread);
    deallocate(memory);
    (void)event.query();
  }
}

using ThreadsTest = RuntimeTest;

TEST_F(ThreadsTest, eight_threads_share_the_devices) {
  const auto trace = start_trace();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) threads.emplace_back(work_on, thread);
  for (std::thread& thread : threads) thread.join();
  for (const int device : {0, 1}) {
    synchronize_device(device);
    empty_cache(device);
    const MemoryStats stats = memory_stats(device);
    EXPECT_EQ(stats.active_bytes[0].current, 0);
    EXPECT_EQ(stats.reserved_bytes[0].current, 0);
    EXPECT_EQ(device_totals(device).kernels, kThreads / 2 * kRounds);
  }
  EXPECT_EQ(stop_trace(trace).kernels.size(), static_cast<std::size_t>(kThreads * kRounds));
}

TEST_F(ThreadsTest, a_block_may_be_freed_by_another_thread) {
  void* memory = allocate({0, 0}, 4096);
  std::thread([&] { deallocate(memory); }).join();
  EXPECT_EQ(memory_stats(0).allocated_bytes[0].current, 0);
}

}  // namespace
}  // namespace npu_sim::runtime
