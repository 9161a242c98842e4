#include <gtest/gtest.h>

#include "../chip_for_tests.h"
#include "base/error.h"
#include "runtime/stream.h"

namespace npu_sim::runtime {
namespace {

constexpr StreamId kOwner{0, 0};
constexpr StreamId kUser{0, 1};
constexpr auto kAll = static_cast<std::size_t>(PoolKind::kAll);

using RecordStreamTest = RuntimeTest;

TEST_F(RecordStreamTest, a_block_is_not_reused_while_another_stream_uses_it) {
  void* memory = allocate(kOwner, 4096);
  record({"test::use", kUser}, streaming(512));
  record_stream(memory, kUser);
  deallocate(memory);
  EXPECT_EQ(memory_stats(0).allocated_bytes[kAll].current, 0);
  EXPECT_EQ(memory_stats(0).active_bytes[kAll].current, 4096);
  void* other = allocate(kOwner, 4096);
  EXPECT_NE(other, memory);
  deallocate(other);
}

TEST_F(RecordStreamTest, a_block_is_reused_when_the_stream_has_passed) {
  void* memory = allocate(kOwner, 2 * kMib);
  record({"test::use", kUser}, streaming(512));
  record_stream(memory, kUser);
  deallocate(memory);
  synchronize(kUser);
  EXPECT_EQ(allocate(kOwner, 2 * kMib), memory);
  deallocate(memory);
  EXPECT_EQ(memory_stats(0).active_bytes[kAll].current, 0);
}

TEST_F(RecordStreamTest, work_queued_after_the_free_does_not_matter) {
  void* memory = allocate(kOwner, 2 * kMib);
  record_stream(memory, kUser);
  deallocate(memory);
  record({"test::later", kUser}, streaming(512));
  EXPECT_EQ(allocate(kOwner, 2 * kMib), memory);
  deallocate(memory);
}

TEST_F(RecordStreamTest, the_owning_stream_needs_no_wait) {
  void* memory = allocate(kOwner, 4096);
  record({"test::use", kOwner}, streaming(512));
  record_stream(memory, kOwner);
  deallocate(memory);
  EXPECT_EQ(allocate(kOwner, 4096), memory);
  deallocate(memory);
}

TEST_F(RecordStreamTest, a_full_card_waits_for_the_other_stream) {
  void* memory = allocate(kOwner, 200 * kMib);
  record({"test::use", kUser}, streaming(512));
  record_stream(memory, kUser);
  deallocate(memory);
  const base::SimTime before = host_now();
  void* other = allocate(kOwner, 200 * kMib);
  EXPECT_GT(host_now(), before);
  EXPECT_EQ(memory_stats(0).num_sync_all_streams, 1);
  deallocate(other);
}

TEST_F(RecordStreamTest, a_host_pointer_is_an_error) {
  int on_host = 0;
  EXPECT_THROW(record_stream(&on_host, kUser), base::ValueError);
}

}  // namespace
}  // namespace npu_sim::runtime
