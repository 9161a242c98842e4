// Functions for all allocations stay for the rest of the process: a program of its own.
#include "runtime/memory/foreign_memory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "../chip_for_tests.h"
#include "base/error.h"

namespace npu_sim::runtime {
namespace {

struct Call {
  ssize_t size = 0;
  int device = -1;
  std::intptr_t stream = -1;
};
std::vector<Call> allocated;
std::vector<Call> freed;
bool full = false;

void* take(ssize_t size, int device, void* stream) {
  if (full) return nullptr;
  allocated.push_back({size, device, reinterpret_cast<std::intptr_t>(stream)});
  return std::malloc(static_cast<std::size_t>(size));
}

void give(void* pointer, ssize_t size, int device, void* stream) {
  freed.push_back({size, device, reinterpret_cast<std::intptr_t>(stream)});
  std::free(pointer);
}

constexpr ForeignFunctions kFunctions{take, give};

TEST(ForeignMemoryTest, serves_every_allocation_from_then_on) {
  set_chip(chip_for_tests());
  EXPECT_FALSE(uses_foreign_memory());
  use_foreign_memory(kFunctions);
  ASSERT_TRUE(uses_foreign_memory());

  auto* memory = static_cast<std::byte*>(allocate({1, 3}, 1000));
  ASSERT_EQ(allocated.size(), 1U);
  EXPECT_EQ(allocated[0].size, 1000);
  EXPECT_EQ(allocated[0].device, 1);
  EXPECT_EQ(allocated[0].stream, 3);
  EXPECT_EQ(device_of(memory), 1);
  EXPECT_EQ(device_of(memory + 999), 1);
  EXPECT_EQ(device_of(memory + 1000), -1);
  EXPECT_EQ(allocated_size(memory), 1000U);
  EXPECT_EQ(memory_stats(1).allocated_bytes[0].current, 1000);
  EXPECT_NO_THROW(record_stream(memory, {1, 0}));

  deallocate(memory);
  ASSERT_EQ(freed.size(), 1U);
  EXPECT_EQ(freed[0].size, 1000);
  EXPECT_EQ(freed[0].device, 1);
  EXPECT_EQ(freed[0].stream, 3);
  EXPECT_EQ(device_of(memory), -1);
  EXPECT_EQ(memory_stats(1).allocated_bytes[0].current, 0);

  EXPECT_THROW(use_foreign_memory(kFunctions), base::Error);
  full = true;
  EXPECT_THROW((void)allocate({0, 0}, 8), base::OutOfMemoryError);
}

}  // namespace
}  // namespace npu_sim::runtime
