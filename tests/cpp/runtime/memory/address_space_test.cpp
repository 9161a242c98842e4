#include "runtime/memory/address_space.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "../chip_for_tests.h"
#include "base/error.h"

namespace npu_sim::runtime {
namespace {

using AddressSpaceTest = RuntimeTest;

TEST_F(AddressSpaceTest, a_pointer_names_its_device) {
  void* first = allocate({0, 0}, 1000);
  void* second = allocate({1, 0}, 1000);
  EXPECT_EQ(device_of(first), 0);
  EXPECT_EQ(device_of(static_cast<char*>(first) + 999), 0);
  EXPECT_EQ(device_of(second), 1);
  int on_host = 0;
  EXPECT_EQ(device_of(&on_host), -1);
  EXPECT_EQ(device_of(nullptr), -1);
  deallocate(first);
  deallocate(second);
}

TEST_F(AddressSpaceTest, simulated_addresses_start_at_the_fixed_base) {
  void* first = allocate({0, 0}, 512);
  void* next = allocate({0, 0}, 512);
  EXPECT_EQ(simulated_address(first), kSimulatedBase);
  EXPECT_EQ(simulated_address(next), kSimulatedBase + 512);
  int on_host = 0;
  EXPECT_THROW((void)simulated_address(&on_host), base::ValueError);
  deallocate(first);
  deallocate(next);
}

TEST_F(AddressSpaceTest, every_byte_can_be_written) {
  void* memory = allocate({0, 0}, 3 * kMib + 1);
  std::memset(memory, 7, 3 * kMib + 1);
  EXPECT_EQ(static_cast<unsigned char*>(memory)[3 * kMib], 7);
  deallocate(memory);
}

TEST_F(AddressSpaceTest, dropped_pages_read_as_zero) {
  auto* memory = static_cast<std::byte*>(allocate({0, 0}, 2 * kMib));
  std::memset(memory, 7, 2 * kMib);
  drop_pages(memory, 2 * kMib);
  EXPECT_EQ(memory[kMib], std::byte{0});
  deallocate(memory);
}

// Bytes of this process that the host holds in memory.
std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t size = 0;
  std::int64_t resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST_F(AddressSpaceTest, untouched_memory_costs_the_host_nothing) {
  const std::int64_t before = resident_bytes();
  void* memory = allocate({0, 0}, 200 * kMib);
  EXPECT_LT(resident_bytes() - before, 16 << 20);
  deallocate(memory);
}

TEST_F(AddressSpaceTest, released_segments_give_host_pages_back) {
  void* memory = allocate({0, 0}, 200 * kMib);
  std::memset(memory, 1, 200 * kMib);
  const std::int64_t full = resident_bytes();
  deallocate(memory);
  empty_cache(0);
  EXPECT_GT(full - resident_bytes(), 150 << 20);
}

TEST_F(AddressSpaceTest, free_blocks_do_not_pile_up_on_the_host) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer keeps shadow pages of its own for every page touched";
#endif
  model::ChipSpec large = chip_for_tests();
  large.memory_bytes = std::int64_t{4} << 30;
  set_chip(large);
  const std::int64_t before = resident_bytes();
  for (int i = 0; i < 16; ++i) {  // 1.6 GiB of segments in all, on streams that do not share them
    void* memory = allocate({0, i}, 100 * kMib);
    std::memset(memory, 1, 100 * kMib);
    deallocate(memory);
  }
  EXPECT_LT(resident_bytes() - before, 700 << 20);
}

TEST_F(AddressSpaceTest, a_refused_mapping_is_an_error_that_says_what_for) {
  try {
    (void)map_lazily(std::size_t{1} << 60, "a test");
    FAIL() << "expected base::Error";
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("a test"), std::string::npos);
  }
}

}  // namespace
}  // namespace npu_sim::runtime
