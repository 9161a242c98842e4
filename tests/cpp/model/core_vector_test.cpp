// Laws of kernels on the vector cores, and of transfers between memory and scratchpads.
#include <gtest/gtest.h>

#include <vector>

#include "model/core/vector.h"
#include "model/cost/cost.h"
#include "model/work/name.h"

namespace npu_sim::model {
namespace {

using base::SimTime;

const ChipSpec& card() {
  static const ChipSpec chip = preset("ascend950pr");
  return chip;
}

SimTime duration(const Work& work) { return cost(work, card()).duration; }

VectorWork elementwise(std::int64_t elements, Format format = Format::kFp32) {
  const Bytes bytes(elements * base::bits(format) / 8);
  return {.elements = elements,
          .read = bytes,
          .written = bytes,
          .compute = format,
          .linear_ops = 6,
          .special_ops = 2};
}

RowWork rowwise(std::int64_t rows, std::int64_t columns) {
  const Bytes bytes(4 * rows * columns);
  return {.rows = rows,
          .columns = columns,
          .read = bytes,
          .written = bytes,
          .linear_ops = 8,
          .reductions = 2,
          .passes = 2};
}

CopyWork copy(std::int64_t bytes, std::int64_t run) {
  return {.read = Bytes(bytes), .written = Bytes(bytes), .run = Bytes(run)};
}

TEST(VectorCore, SpecialInstructionsHideUnderFullRateOnesAndTheReverse) {
  const double special = register_cycles({.special = 2}, Format::kFp32, card());
  EXPECT_DOUBLE_EQ(special, 2 / card().special_rate);
  EXPECT_DOUBLE_EQ(register_cycles({.linear = 4, .special = 2}, Format::kFp32, card()), special);
  EXPECT_DOUBLE_EQ(register_cycles({.linear = 137}, Format::kFp32, card()), 100);  // IPC 1.37
}

TEST(VectorCore, SixteenBitFloatsAreWidenedUnlessFp16NeedsNoFunction) {
  EXPECT_EQ(register_lanes({.linear = 1}, Format::kFp16, card()), 128);
  EXPECT_EQ(register_lanes({.linear = 1}, Format::kBf16, card()), 64);
  EXPECT_EQ(register_lanes({.special = 1}, Format::kFp16, card()), 64);
  EXPECT_GT(register_cycles({.linear = 1}, Format::kBf16, card()),
            register_cycles({.linear = 1}, Format::kFp32, card()));
}

TEST(VectorCore, MoreElementsNeverTakeLessTime) {
  for (std::int64_t elements = 1; elements < 100'000'000; elements += elements / 7 + 1) {
    ASSERT_LE(duration(elementwise(elements)), duration(elementwise(elements + 1))) << elements;
  }
}

TEST(VectorCore, MoreRowsOrColumnsNeverTakeLessTime) {
  for (const std::int64_t columns : {1, 7, 64, 65, 1000, 20'000, 300'000}) {
    for (std::int64_t rows = 1; rows < 5000; rows += rows / 5 + 1) {
      const SimTime time = duration(rowwise(rows, columns));
      ASSERT_LE(time, duration(rowwise(rows + 1, columns))) << rows << " x " << columns;
      ASSERT_LE(time, duration(rowwise(rows, columns + 1))) << rows << " x " << columns;
    }
  }
}

TEST(VectorCore, NothingIsFasterThanItsPipesAndTheMemory) {
  for (const Work& work : std::vector<Work>{elementwise(1 << 24), rowwise(4096, 4096),
                                            copy(1 << 26, 128), copy(1 << 26, 0)}) {
    const KernelTime time = cost(work, card());
    const double bytes =
        static_cast<double>((time.bytes_hibl_read + time.bytes_hibl_written).count());
    EXPECT_GE(base::to_us(time.duration), bytes / card().hibl_bytes_per_s * 1e6) << to_text(work);
    for (const SimTime busy : time.busy) EXPECT_LE(busy, time.duration) << to_text(work);
  }
}

TEST(VectorCore, ARowMoreThanTheCoresHaveTakesAnotherWave) {
  RowWork work = rowwise(card().vector_cores, 16'000);
  work.linear_ops = 200;  // bound by the vector unit
  const SimTime one = cost(work, card()).busy_of(Pipe::kVector);
  ++work.rows;
  EXPECT_EQ(cost(work, card()).busy_of(Pipe::kVector), 2 * one);
}

TEST(VectorCore, OddRowsCostThe910MoreAndThe950Not) {
  const auto step = [](const char* name) {
    const ChipSpec chip = preset(name);
    const auto busy = [&](std::int64_t columns) {
      RowWork work = rowwise(4096, columns);
      work.reductions = 0;
      return static_cast<double>(cost(work, chip).busy_of(Pipe::kVector).count());
    };
    return busy(2033) / busy(2048);  // as many registers
  };
  EXPECT_GT(step("ascend910b2"), 1.1);
  EXPECT_DOUBLE_EQ(step("ascend950pr"), 1);
}

TEST(VectorCore, RowsThatDoNotFitAreReadAgainFromL2) {
  RowWork work = rowwise(56, 1 << 14);
  const KernelTime fits = cost(work, card());
  work = rowwise(56, 1 << 15);
  const KernelTime swept = cost(work, card());
  EXPECT_EQ(swept.bytes_read, fits.bytes_read * 2);
  EXPECT_GT(swept.bytes_l2 - swept.bytes_read - swept.bytes_written, base::Bytes(0));
}

TEST(VectorCore, OneLongRowIsReducedByManyCoresThatMeetOnce) {
  const RowWork work{.rows = 1, .columns = 1 << 24, .read = Bytes(1 << 26), .written = Bytes(4)};
  const SimTime time = duration(work);
  EXPECT_GT(time, SimTime(static_cast<std::int64_t>(hibl_seconds(1 << 26, 0, card()) * 1e12)));
  EXPECT_LT(base::to_us(time), 2 * hibl_seconds(1 << 26, 0, card()) * 1e6);
}

TEST(Transfers, ShorterRunsNeverTakeLessTime) {
  for (const std::int64_t bytes : {1 << 20, 1 << 26}) {
    for (std::int64_t run = 32; run < (1 << 16); run *= 2) {
      EXPECT_LE(duration(copy(bytes, 2 * run)), duration(copy(bytes, run))) << run;
    }
  }
}

TEST(Transfers, TurningRowsIntoColumnsTakesAGatherARegister) {
  CopyWork work = copy(1 << 24, 512);
  work.transposed = Bytes(4);
  const double registers = (1 << 24) / 4 / 64.0 / card().vector_cores;
  const double us = registers * card().vector_core.gather_cycles / card().clock_hz * 1e6;
  EXPECT_NEAR(base::to_us(cost(work, card()).busy_of(Pipe::kVector)), us, us * 1e-3);
}

TEST(Transfers, ItemsThatWaitForTheirPlaceTakeLongerThanItemsInFlight) {
  GatherWork work{.items = 100'000,
                  .item = Bytes(1024),
                  .written = Bytes(102'400'000),
                  .read = Bytes(102'400'000)};
  const SimTime in_flight = duration(work);
  work.one_by_one = true;
  EXPECT_GT(duration(work), 2 * in_flight);
}

TEST(Transfers, NumbersThatEveryCoreReadsOneByOneAddUp) {
  GatherWork work{.items = 64, .item = Bytes(256), .written = Bytes(16384), .read = Bytes(16384)};
  const SimTime none = duration(work);
  work.scalars = 100;
  EXPECT_NEAR(base::to_us(duration(work) - none), card().vector_core.scalar_read_ns / 10, 1e-3);
}

// cannmirror/asc-devkit@0da921b best practices: GM -> UB and GM -> L1 (fractal) of [12288, 12288]
// half, us. Some rows set a number of the preset; the tolerance of each is the acceptance, 10 %.
struct CopyRow {
  const char* name;
  double a2_us;
  double pr950_us;
  CopyWork work;
};

std::vector<CopyRow> copy_table() {
  constexpr Bytes kMatrix(2LL * 12288 * 12288);
  constexpr Bytes kTile(128 * 1024);
  constexpr Bytes kOddPitch(2 * 12287);
  CopyWork ub{.read = kMatrix, .run = kTile, .target = CopyTarget::kUb, .descriptor_runs = 1};
  CopyWork l1{.read = kMatrix, .run = Bytes(512), .target = CopyTarget::kL1};
  const auto with = [](CopyWork work, auto change) {
    change(work);
    return work;
  };
  return {
      {"128 B descriptors", 564.84, 884.06, with(ub, [](auto& w) { w.run = Bytes(128); })},
      {"64 x 128 B descriptors", 233.54, 208.64,
       with(ub,
            [](auto& w) {
              w.run = Bytes(128);
              w.descriptor_runs = 64;
            })},
      {"128 KB tiles", 215.82, 188.52, ub},
      {"odd rows", 275.3, 192.07, with(ub, [&](auto& w) { w.pitch = kOddPitch; })},
      {"four sweeps", 828.06, 741.58, with(ub, [](auto& w) { w.sweeps = 4; })},
      {"four sweeps of slices", 365.74, 354.95,
       with(ub,
            [](auto& w) {
              w.sweeps = 4;
              w.sliced = true;
            })},
      {"fractal, 128 B rows", 300.7, 245.1, with(l1, [](auto& w) { w.run = Bytes(128); })},
      {"fractal, 512 B rows", 230.24, 190.52, l1},
      {"fractal, odd rows", 438.76, 206.61, with(l1, [&](auto& w) { w.pitch = kOddPitch; })},
      {"fractal, four sweeps", 899.34, 732.809, with(l1, [](auto& w) { w.sweeps = 4; })},
      {"fractal, four sweeps of slices", 414.96, 390.347,
       with(l1,
            [](auto& w) {
              w.sweeps = 4;
              w.sliced = true;
            })},
  };
}

TEST(Transfers, TheCopyTableIsWithin10Percent) {
  for (const CopyRow& row : copy_table()) {
    const double a2 = base::to_us(cost(row.work, preset("ascend910b2")).duration);
    const double pr = base::to_us(cost(row.work, preset("ascend950pr_128g")).duration);
    EXPECT_NEAR(a2 / row.a2_us, 1, 0.10) << "A2 " << row.name << ": " << a2;
    EXPECT_NEAR(pr / row.pr950_us, 1, 0.10) << "950PR " << row.name << ": " << pr;
  }
}

}  // namespace
}  // namespace npu_sim::model
