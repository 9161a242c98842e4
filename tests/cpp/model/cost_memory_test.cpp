// What crosses HiBL, L2 and the links: efficiencies, whole transactions, strides, sweeps.
#include <gtest/gtest.h>

#include "model/cost/cost.h"
#include "model/cost/demand.h"

namespace npu_sim::model {
namespace {

using base::SimTime;

const ChipSpec& card() {
  static const ChipSpec chip = preset("ascend950pr");
  return chip;
}

// As if L2 neither held nor absorbed anything.
double hibl_us(Bytes read, Bytes written) {
  constexpr double kUsPerSecond = 1e6;
  return kUsPerSecond * hibl_seconds(number(read), number(written), card());
}

TEST(HiblTime, ReadsAloneRunAtTheReadEfficiency) {
  EXPECT_NEAR(hibl_us(Bytes(1'344'000'000), Bytes(0)), 1000, 1e-3);  // 0.96 of 1.4 TB/s
}

TEST(HiblTime, EqualReadsAndWritesRunAtTheMixedEfficiency) {
  EXPECT_NEAR(hibl_us(Bytes(627'200'000), Bytes(627'200'000)), 1000, 1e-3);  // 0.896 of 1.4 TB/s
}

TEST(HiblTime, OnlyTheSmallerDirectionPaysForTurningTheBus) {
  const double pair = hibl_us(Bytes(1'000'000), Bytes(1'000'000));
  const double surplus = hibl_us(Bytes(3'000'000), Bytes(0));
  EXPECT_NEAR(hibl_us(Bytes(4'000'000), Bytes(1'000'000)), pair + surplus, 1e-5);
}

TEST(HiblTime, NeverFallsWhenBytesAreAdded) {
  for (std::int64_t read : {0, 1000, 1'000'000}) {
    for (std::int64_t written : {0, 999, 1000, 2'000'000}) {
      const double time = hibl_us(Bytes(read), Bytes(written));
      EXPECT_LE(time, hibl_us(Bytes(read + 1000), Bytes(written)));
      EXPECT_LE(time, hibl_us(Bytes(read), Bytes(written + 1000)));
    }
  }
}

GatherWork gather(std::int64_t items, std::int64_t item) {
  return {.items = items,
          .item = Bytes(item),
          .index = Bytes(items * 8),
          .written = Bytes(items * item),
          .read = Bytes(items * item)};
}

TEST(Gather, ItemsMoveWholeTransactions) {
  const auto data_read = [](std::int64_t item) {
    return cost(gather(1000, item), card()).bytes_read.count() - 8000;
  };
  EXPECT_EQ(data_read(1), 1000 * 128);
  EXPECT_EQ(data_read(127), 1000 * 128);
  EXPECT_EQ(data_read(128), 1000 * 128);
  EXPECT_EQ(data_read(129), 1000 * 256);
  EXPECT_EQ(data_read(14336), 1000 * 14336);
}

TEST(Gather, Moves4TimesLessForSmallItemsThanA512ByteTransaction) {
  const auto data_read = [](const char* chip) {
    return cost(gather(100'000, 64), preset(chip)).bytes_read.count() - 800'000;
  };
  EXPECT_EQ(data_read("ascend910b2"), 4 * data_read("ascend950pr"));
}

TEST(Gather, ATableThatFitsL2CrossesHiblOnce) {
  GatherWork work = gather(1'000'000, 4);
  work.table = Bytes(8'000'000);
  const KernelTime time = cost(work, card());
  EXPECT_EQ(time.bytes_read.count(), 8'000'000 + 8'000'000);  // table and index
  EXPECT_GT(time.busy_of(Pipe::kL2), SimTime(0));             // the pieces come from L2
  work.table = Bytes(card().l2_bytes + 1);
  EXPECT_EQ(cost(work, card()).bytes_read.count(), 128'000'000 + 8'000'000);
}

// Bytes of items that cross L2 or HiBL, indices and results apart.
double item_traffic(GatherWork work, const ChipSpec& chip) {
  work.written = Bytes(0);
  return static_cast<double>((cost(work, chip).bytes_l2 - work.index).count());
}

TEST(Gather, RowsThatFitTheDataCacheOfThreadsAreFetchedOnce) {
  GatherWork work = gather(1'000'000, 4);
  work.table = Bytes(16'000'000);
  work.choices = 1000;  // 4 kB a row
  EXPECT_EQ(cost(work, card()).bytes_read.count(), 16'000'000 + 8'000'000);
  EXPECT_DOUBLE_EQ(item_traffic(work, card()), 16e6);
  work.choices = 1'000'000;
  EXPECT_GT(item_traffic(work, card()), 100e6);
}

TEST(Gather, NeighboursThatDrawFromFewPlacesShareLines) {
  GatherWork work = gather(1'000'000, 4);
  work.run = 1'000'000;
  work.choices = 2;
  work.table = Bytes(8'000'000);
  const double apart = 1e6 * 128;
  EXPECT_NEAR(item_traffic(work, card()), apart * 2 / 32, apart / 100);
}

TEST(Gather, ReadsThatAreNotItemsStayAsTheyAre) {
  GatherWork work = gather(1000, 128);
  work.read += Bytes(5000);
  EXPECT_EQ(cost(work, card()).bytes_read.count(), 128'000 + 5000 + 8000);
}

TEST(Scatter, WritesWholeTransactionsAndAnAtomicAddReadsThemToo) {
  GatherWork work = gather(1000, 4);
  work.scatter = true;
  KernelTime time = cost(work, card());
  EXPECT_EQ(time.bytes_written.count(), 128'000);
  EXPECT_EQ(time.bytes_read.count(), 4000 + 8000);
  work.accumulates = true;
  time = cost(work, card());
  EXPECT_EQ(time.bytes_written.count(), 128'000);
  EXPECT_EQ(time.bytes_read.count(), 4000 + 8000 + 128'000);
}

CopyWork copy(std::int64_t bytes, std::int64_t run) {
  return {.read = Bytes(bytes), .written = Bytes(bytes), .run = Bytes(run)};
}

TEST(Copy, RunsOfWholeTransactionsMoveNothingMore) {
  const KernelTime dense = cost(copy(1 << 24, 1 << 24), card());
  EXPECT_EQ(cost(copy(1 << 24, 128), card()).bytes_read, dense.bytes_read);
  EXPECT_EQ(cost(copy(1 << 24, 0), card()).duration, dense.duration);
}

TEST(Copy, ShorterRunsMoveMoreUpToTheChipsLimit) {
  const std::int64_t bytes = 1 << 24;
  EXPECT_EQ(cost(copy(bytes, 96), card()).bytes_read.count(), (bytes * 4 + 2) / 3);  // 128 for 96
  EXPECT_EQ(cost(copy(bytes, 2), card()).bytes_read.count(),
            static_cast<std::int64_t>(bytes * card().strided_traffic_limit));
  EXPECT_EQ(cost(copy(bytes, 2), card()).bytes_written.count(), bytes);
}

TEST(Copy, AKnownSpanBoundsTheTraffic) {
  CopyWork every_fourth = copy(1'000'000, 4);
  every_fourth.span = Bytes(4'000'000);
  EXPECT_EQ(cost(every_fourth, card()).bytes_read.count(), 4'000'000);
  every_fourth.span = Bytes(1'000'000'000);  // every piece in a line of its own
  EXPECT_EQ(cost(every_fourth, card()).bytes_read.count(), 32'000'000);
}

TEST(Copy, OverTheHostLinkIsLatencyPlusBandwidth) {
  const CopyWork work{
      .route = CopyRoute::kHostToDevice, .read = Bytes(32'000'000), .written = Bytes(32'000'000)};
  const KernelTime time = cost(work, card());
  EXPECT_EQ(time.busy_of(Pipe::kLink), SimTime(1'003'000'000));  // 3 us + 1 ms
  EXPECT_EQ(time.bytes_read.count(), 0);
  EXPECT_EQ(time.bytes_written.count(), 32'000'000);
}

TEST(Copy, ToAPeerUsesThePeerLink) {
  const CopyWork work{
      .route = CopyRoute::kPeer, .read = Bytes(56'000'000), .written = Bytes(56'000'000)};
  const KernelTime time = cost(work, card());
  EXPECT_EQ(time.busy_of(Pipe::kLink), SimTime(1'001'500'000));
  EXPECT_EQ(name(time.bound), "link");
}

TEST(Row, SweepsOfARowThatDoesNotFitTheScratchpadComeFromL2) {
  RowWork work{.rows = 100,
               .columns = card().ub_bytes / 8,  // fp32, double-buffered
               .read = Bytes(1'000'000),
               .written = Bytes(1'000'000),
               .passes = 3};
  EXPECT_EQ(cost(work, card()).bytes_l2.count(), 2'000'000);
  work.columns += 1;
  EXPECT_EQ(cost(work, card()).bytes_l2.count(), 4'000'000);
  EXPECT_EQ(cost(work, card()).bytes_read.count(), 1'000'000);
}

TEST(Row, EachReductionTakesItsCyclesARow) {
  const std::int64_t rows = 1000LL * card().vector_cores;
  RowWork work{.rows = rows, .columns = 64, .linear_ops = 0, .reductions = 3};
  const double us = 1000 * 3 * card().vector_core.reduce_cycles / card().clock_hz * 1e6;
  EXPECT_NEAR(base::to_us(cost(work, card()).busy_of(Pipe::kVector)), us, us * 1e-3);
}

TEST(Attention, ReadsKeysAndValuesOnceAndALatentCacheOnceOnly) {
  AttentionWork mla{.batch = 4,
                    .q_heads = 128,
                    .kv_heads = 1,
                    .q_len = 1,
                    .kv_len = 2048,
                    .qk_dim = 576,
                    .v_dim = 512};
  const std::int64_t q = 4 * 128 * 576 * 2;
  const std::int64_t k = 4 * 2048 * 576 * 2;
  const std::int64_t v = 4 * 2048 * 512 * 2;
  EXPECT_EQ(cost(mla, card()).bytes_read.count(), q + k + v);
  mla.v_in_k = true;
  EXPECT_EQ(cost(mla, card()).bytes_read.count(), q + k);
}

TEST(Sort, MergesOverMemoryWhenARowExceedsTheScratchpad) {
  SortWork work{.rows = 1, .columns = 1000, .k = 1000, .written = Bytes(12'000)};
  EXPECT_EQ(cost(work, card()).bytes_read.count(), 4000);
  work.columns = work.k = card().ub_bytes;  // 4 times the scratchpad: one sweep of 4-way merges
  EXPECT_EQ(cost(work, card()).bytes_read.count(), 2 * 4 * card().ub_bytes);
}

}  // namespace
}  // namespace npu_sim::model
