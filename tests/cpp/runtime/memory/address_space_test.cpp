#include "runtime/memory/address_space.h"

#include <gtest/gtest.h>

#include <cstring>

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
