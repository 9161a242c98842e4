#include "runtime/device_table.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "chip_for_tests.h"

namespace npu_sim::runtime {
namespace {

using DeviceTableTest = RuntimeTest;

TEST_F(DeviceTableTest, there_are_eight_devices_by_default) { EXPECT_EQ(device_count(), 8); }

TEST_F(DeviceTableTest, a_device_outside_the_table_is_an_error) {
  EXPECT_THROW(set_current_device(-1), base::ValueError);
  EXPECT_THROW(set_current_device(device_count()), base::ValueError);
  EXPECT_THROW(synchronize_device(device_count()), base::ValueError);
}

TEST_F(DeviceTableTest, each_thread_has_its_own_current_device) {
  set_current_device(3);
  int seen = -1;
  std::thread([&] { seen = current_device(); }).join();
  EXPECT_EQ(seen, 0);
  EXPECT_EQ(exchange_device(0), 3);
  EXPECT_EQ(current_device(), 0);
}

TEST_F(DeviceTableTest, the_chip_cannot_change_while_memory_is_allocated) {
  void* memory = allocate({2, 0}, 100);
  EXPECT_THROW(set_chip(chip_for_tests()), base::Error);
  deallocate(memory);
  EXPECT_NO_THROW(set_chip(chip_for_tests()));
}

TEST_F(DeviceTableTest, a_new_chip_starts_from_nothing) {
  record({"test::op", {0, 0}}, model::UndescribedWork{});
  deallocate(allocate({0, 0}, 100));
  model::ChipSpec other = chip_for_tests();
  other.memory_bytes = 64 << 20;
  set_chip(other);
  EXPECT_EQ(host_now(), base::SimTime::zero());
  EXPECT_EQ(memory_info(0).total, 64 << 20);
  EXPECT_EQ(memory_info(0).free, 64 << 20);
  EXPECT_TRUE(undescribed_ops().empty());
  EXPECT_EQ(device_totals(0).kernels, 0);
}

TEST_F(DeviceTableTest, costs_follow_the_chip) {
  record({"test::op", {0, 0}}, streaming(64));
  synchronize_device(0);
  const base::SimTime slow = host_now();
  model::ChipSpec fast = chip_for_tests();
  fast.hibl_bytes_per_s *= 10;
  fast.l2_bytes_per_s *= 10;
  fast.vector_fp32_op_per_s *= 10;
  set_chip(fast);
  record({"test::op", {0, 0}}, streaming(64));
  synchronize_device(0);
  EXPECT_LT(host_now(), slow);
}

TEST_F(DeviceTableTest, synchronizing_a_device_waits_for_all_its_streams) {
  record({"test::op", {0, 0}}, streaming(1));
  record({"test::op", {0, 5}}, streaming(64));
  record({"test::op", {1, 0}}, streaming(128));
  synchronize_device(0);
  EXPECT_TRUE(query(StreamId{0, 0}));
  EXPECT_TRUE(query(StreamId{0, 5}));
  EXPECT_FALSE(query(StreamId{1, 0}));
}

}  // namespace
}  // namespace npu_sim::runtime
