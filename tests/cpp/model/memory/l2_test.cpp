// Laws of the L2 between kernels.
#include "model/memory/l2.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "model/cost/demand.h"

namespace npu_sim::model {
namespace {

constexpr std::uint64_t kMib = 1 << 20;

const ChipSpec& card() {
  static const ChipSpec chip = preset("ascend950pr");
  return chip;
}

AddressRange at(std::uint64_t mib, std::uint64_t size_mib) {
  return {mib * kMib, (mib + size_mib) * kMib};
}

double bytes_of(const std::vector<AddressRange>& ranges) {
  double bytes = 0;
  for (const AddressRange& range : ranges) bytes += static_cast<double>(range.size());
  return bytes;
}

Residency pass(L2& l2, const std::vector<AddressRange>& read,
               const std::vector<AddressRange>& written) {
  return l2.pass({.read_bytes = bytes_of(read), .written_bytes = bytes_of(written)},
                 {.read = read, .written = written});
}

TEST(L2, ARangeThatWasWrittenIsHit) {
  L2 l2(card());
  pass(l2, {}, {at(0, 8)});
  EXPECT_EQ(pass(l2, {at(0, 8)}, {}).hit_bytes, 8.0 * kMib);
  EXPECT_EQ(pass(l2, {at(4, 8)}, {}).hit_bytes, 4.0 * kMib);
}

TEST(L2, ARangeThatNobodyUsedIsNotHit) {
  L2 l2(card());
  pass(l2, {at(0, 8)}, {at(8, 8)});
  EXPECT_EQ(pass(l2, {at(100, 8)}, {}).hit_bytes, 0);
}

TEST(L2, WhatHasBeenPushedOutIsNotHit) {
  L2 l2(card());
  pass(l2, {at(0, 8)}, {});
  pass(l2, {at(1000, 512)}, {});
  EXPECT_EQ(pass(l2, {at(0, 8)}, {}).hit_bytes, 0);
}

TEST(L2, ReadingMoreThanFitsAgainHitsNothing) {
  L2 l2(card());
  pass(l2, {at(0, 512)}, {});
  EXPECT_EQ(pass(l2, {at(0, 512)}, {}).hit_bytes, 0);
}

TEST(L2, StreamedReadsLeaveNothingBehind) {
  L2 l2(card());
  pass(l2, {at(0, 8)}, {});
  const std::vector<AddressRange> stream = {at(1000, 512)};
  l2.pass({.read_bytes = 512.0 * kMib, .streams = true}, {.read = stream});
  EXPECT_EQ(pass(l2, {at(0, 8)}, {}).hit_bytes, 8.0 * kMib);
}

TEST(L2, AFlushGivesBackTheDirtyBytesAndForgetsAll) {
  L2 l2(card());
  pass(l2, {at(0, 8)}, {at(8, 4)});
  EXPECT_EQ(l2.flush(), 4 * kMib);
  EXPECT_EQ(pass(l2, {at(0, 12)}, {}).hit_bytes, 0);
}

TEST(L2, BytesOfAGatherHitInProportionToWhatIsResidentOfTheTable) {
  L2 l2(card());
  pass(l2, {at(0, 20)}, {});
  const std::vector<AddressRange> table = {at(0, 80)};
  EXPECT_NEAR(l2.pass({.read_bytes = 1e6}, {.read = table}).hit_bytes, 0.25e6, 1);
}

TEST(L2, AKernelAloneKeepsWhatTheFormulaSays) {
  for (const std::uint64_t read : {0, 20, 130, 500, 3000}) {
    for (const std::uint64_t written : {1, 80, 260, 2000}) {
      L2 unnamed(card());
      L2 walked(card());
      Demand demand;
      demand.read_bytes = static_cast<double>(read * kMib);
      demand.written_bytes = static_cast<double>(written * kMib);
      const Residency formula = alone(demand, card());
      EXPECT_EQ(unnamed.pass(traffic_of(demand), {}), formula);
      const Residency walk = pass(walked, {at(0, read)}, {at(10'000, written)});
      EXPECT_EQ(walk.hit_bytes, 0);
      EXPECT_EQ(walk.evicted_bytes, 0);
      // A step of the walk is a 16th of the capacity, or a 64th of a very large kernel.
      const double step = static_cast<double>(walked.capacity()) / 16 +
                          (demand.read_bytes + demand.written_bytes) / 64;
      EXPECT_NEAR(walk.absorbed_bytes, formula.absorbed_bytes, step) << read << " " << written;
    }
  }
}

TEST(L2, InPlaceWorkNeedsRoomForItsBytesOnce) {
  L2 apart(card());
  L2 in_place(card());
  const Residency two = pass(apart, {at(0, 90)}, {at(200, 90)});
  const Residency one = pass(in_place, {at(0, 90)}, {at(0, 90)});
  EXPECT_GT(one.absorbed_bytes, 1.5 * two.absorbed_bytes);
  EXPECT_EQ(one.absorbed_bytes, 90.0 * kMib);
}

// Every byte written is written back once, or still dirty, or was overwritten while dirty.
TEST(L2, WrittenBytesAreConserved) {
  L2 l2(card());
  std::mt19937_64 random(3);
  double written = 0;
  double to_memory = 0;
  std::uint64_t next = 0;
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t size = 1 + random() % (i % 10 == 0 ? 300 : 20);
    const std::vector<AddressRange> read = {at(random() % 400, size)};
    const std::vector<AddressRange> out = {at(1000 + next, size)};  // no address twice
    next += size;
    const Residency residency = pass(l2, read, out);
    EXPECT_LE(residency.hit_bytes, bytes_of(read));
    EXPECT_LE(residency.absorbed_bytes, bytes_of(out));
    written += bytes_of(out);
    to_memory += bytes_of(out) - residency.absorbed_bytes + residency.evicted_bytes;
    EXPECT_NEAR(written, to_memory + static_cast<double>(l2.dirty_bytes()), written * 1e-9);
    EXPECT_LE(l2.resident_bytes(), l2.capacity());
  }
}

TEST(L2, OverwritingDirtyBytesSavesTheirWriteBack) {
  L2 l2(card());
  double to_memory = 0;
  for (int i = 0; i < 100; ++i) {
    const Residency residency = pass(l2, {}, {at(0, 50)});
    to_memory += 50.0 * kMib - residency.absorbed_bytes + residency.evicted_bytes;
  }
  EXPECT_EQ(to_memory, 0);
  EXPECT_EQ(l2.dirty_bytes(), 50 * kMib);
}

TEST(L2, ALargerCacheNeverHitsLess) {
  const ChipSpec small = with_overrides(card(), {{"l2_bytes", 32.0 * kMib}});
  L2 less(small);
  L2 more(card());
  std::mt19937_64 random(5);
  double hit_less = 0;
  double hit_more = 0;
  for (int i = 0; i < 500; ++i) {
    const std::vector<AddressRange> read = {at(8 * (random() % 20), 8)};
    hit_less += pass(less, read, {}).hit_bytes;
    hit_more += pass(more, read, {}).hit_bytes;
  }
  EXPECT_LT(hit_less, hit_more);
}

TEST(L2, TheSamePassesGiveTheSameAnswers) {
  L2 first(card());
  L2 second(card());
  for (std::uint64_t i = 0; i < 200; ++i) {
    const std::vector<AddressRange> read = {at(i * 7 % 90, 1 + i % 40)};
    const std::vector<AddressRange> out = {at(i * 13 % 90, 1 + i % 30)};
    EXPECT_EQ(pass(first, read, out), pass(second, read, out));
  }
}

}  // namespace
}  // namespace npu_sim::model
