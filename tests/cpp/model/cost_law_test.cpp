// Laws of the roofline: what a duration is made of, and how it moves when a work grows.
#include <gtest/gtest.h>

#include <algorithm>

#include "model/cost/cost.h"
#include "model/work/name.h"
#include "sample_works.h"

namespace npu_sim::model {
namespace {

using base::SimTime;

const ChipSpec& card() {
  static const ChipSpec chip = preset("ascend950pr");
  return chip;
}

MatmulWork matmul(std::int64_t m, std::int64_t n, std::int64_t k) {
  return {.m = m, .n = n, .k = k, .a = Format::kBf16, .b = Format::kBf16, .out = Format::kBf16};
}

SimTime slowest_pipe(const KernelTime& time) { return *std::ranges::max_element(time.busy); }

TEST(CostLaw, NoWorkTakesNoTimeAndNoEnergy) {
  const KernelTime time = cost(NoWork{}, card());
  EXPECT_EQ(time.duration, SimTime(0));
  EXPECT_EQ(time.energy.count(), 0);
}

TEST(CostLaw, DurationIsAtLeastTheFloorPlusTheSlowestPipe) {
  for (const std::string& name_of_chip : preset_names()) {
    const ChipSpec chip = preset(name_of_chip);
    for (const Work& work : sample_works()) {
      if (std::holds_alternative<NoWork>(work) || std::holds_alternative<HostWork>(work)) continue;
      const KernelTime time = cost(work, chip);
      EXPECT_GE(time.duration, chip.launch_floor + slowest_pipe(time))
          << name_of_chip << " " << to_text(work);
    }
  }
}

TEST(CostLaw, HostWorkTakesLinkAndHostOneAfterTheOther) {
  const HostWork work{.to_host = Bytes(32'000'000),
                      .to_device = Bytes(64'000'000),
                      .host_traffic = Bytes(200'000'000)};
  const KernelTime time = cost(work, card());
  // 32 GB/s and 3 us each way; 100 GB/s in host memory.
  EXPECT_EQ(time.busy_of(Pipe::kLink), SimTime(3'006'000'000));
  EXPECT_EQ(time.busy_of(Pipe::kHost), SimTime(2'000'000'000));
  EXPECT_EQ(time.duration, SimTime(2'400'000 + 3'006'000'000 + 2'000'000'000));
  EXPECT_EQ(name(time.bound), "link");
  EXPECT_EQ(time.provenance, Provenance::kHostFallback);
}

TEST(CostLaw, NoPipeIsBusyLongerThanTheKernel) {
  for (const Work& work : sample_works()) {
    const KernelTime time = cost(work, card());
    EXPECT_LE(slowest_pipe(time), time.duration) << to_text(work);
  }
}

TEST(CostLaw, BoundNamesTheSlowestPipeOrTheLaunch) {
  EXPECT_EQ(name(cost(matmul(8192, 8192, 8192), card()).bound), "cube");
  EXPECT_EQ(name(cost(matmul(1, 8192, 8192), card()).bound), "hibl");
  EXPECT_EQ(name(cost(matmul(16, 16, 16), card()).bound), "launch");
  VectorWork heavy{.elements = 1'000'000, .read = Bytes(1), .special_ops = 100};
  EXPECT_EQ(name(cost(heavy, card()).bound), "vector");
}

TEST(CostLaw, CubeNeverBeatsThePeak) {
  for (const std::string& name_of_chip : preset_names()) {
    const ChipSpec chip = preset(name_of_chip);
    const MatmulWork work = matmul(4096, 4096, 4096);
    const double seconds = static_cast<double>(cost(work, chip).duration.count()) * 1e-12;
    EXPECT_GE(seconds, 2.0 * 4096 * 4096 * 4096 / chip.cube_fp16_flop_per_s) << name_of_chip;
  }
}

TEST(CostLaw, MemoryNeverBeatsThePeak) {
  for (const std::string& name_of_chip : preset_names()) {
    const ChipSpec chip = preset(name_of_chip);
    for (const Work& work : sample_works()) {
      const KernelTime time = cost(work, chip);
      const double bytes =
          static_cast<double>((time.bytes_hibl_read + time.bytes_hibl_written).count());
      const double seconds = static_cast<double>(time.duration.count()) * 1e-12;
      EXPECT_GE(seconds * chip.hibl_bytes_per_s, bytes) << name_of_chip << " " << to_text(work);
    }
  }
}

TEST(CostLaw, CubeTimeDoublesWithEachMatmulDimensionThatFillsTheCores) {
  const std::int64_t rows = 256 * card().cube_cores;  // whole waves of tiles of 256 x 256
  const SimTime one = cost(matmul(rows, 2048, 4096), card()).busy_of(Pipe::kCube);
  for (const MatmulWork& work :
       {matmul(2 * rows, 2048, 4096), matmul(rows, 4096, 4096), matmul(rows, 2048, 8192)}) {
    const SimTime two = cost(work, card()).busy_of(Pipe::kCube);
    // Each time is rounded up to a whole picosecond.
    EXPECT_LE(two, 2 * one);
    EXPECT_GE(two, 2 * one - SimTime(1));
  }
}

TEST(CostLaw, BatchedMatmulTakesNoLongerThanItsPartsOneByOne) {
  MatmulWork one = matmul(512, 512, 512);
  MatmulWork eight = one;
  eight.batch = 8;
  const KernelTime a = cost(one, card());
  const KernelTime b = cost(eight, card());
  EXPECT_EQ(b.flops, a.flops * 8);
  EXPECT_EQ(b.bytes_read, a.bytes_read * 8);
  EXPECT_GT(b.duration, a.duration);
  EXPECT_LT(b.duration, 8 * a.duration);
}

TEST(CostLaw, MatmulNeverGetsFasterWhenADimensionGrows) {
  for (std::int64_t m : {1, 15, 16, 17, 1000}) {
    for (std::int64_t n : {1, 127, 4096}) {
      for (std::int64_t k : {1, 33, 7168}) {
        const SimTime time = cost(matmul(m, n, k), card()).duration;
        EXPECT_LE(time, cost(matmul(m + 1, n, k), card()).duration);
        EXPECT_LE(time, cost(matmul(m, n + 1, k), card()).duration);
        EXPECT_LE(time, cost(matmul(m, n, k + 1), card()).duration);
      }
    }
  }
}

TEST(CostLaw, SharedWeightsAreReadOnce) {
  MatmulWork own = matmul(1, 4096, 4096);
  own.batch = 16;
  MatmulWork shared = own;
  shared.b_shared = true;
  const std::int64_t weights = 4096 * 4096 * 2;
  EXPECT_EQ((cost(own, card()).bytes_read - cost(shared, card()).bytes_read).count(), 15 * weights);
}

TEST(CostLaw, ABiasCostsOneRowAndAnAccumulatorItsBytes) {
  const MatmulWork plain = matmul(64, 128, 256);
  MatmulWork bias = plain;
  bias.adds_input = true;
  MatmulWork accumulator = bias;
  accumulator.added = Bytes(64 * 128 * 2);
  const Bytes read = cost(plain, card()).bytes_read;
  EXPECT_EQ(cost(bias, card()).bytes_read - read, Bytes(128 * 2));
  EXPECT_EQ(cost(accumulator, card()).bytes_read - read, Bytes(64 * 128 * 2));
}

TEST(CostLaw, GroupedMatmulReadsTheWeightsOfGroupsThatHaveRows) {
  GroupedMatmulWork work{.rows = GroupSizes::even(256, 8), .n = 512, .k = 1024};
  const std::int64_t rows = 8 * 1024 * 2;
  EXPECT_EQ(cost(work, card()).bytes_read.count(), rows + 8 * 512 * 1024 * 2);
  work.rows = GroupSizes({0, 8, 0});
  EXPECT_EQ(cost(work, card()).bytes_read.count(), rows + 512 * 1024 * 2);
  work.rows = GroupSizes({2, 2, 3, 1});
  EXPECT_EQ(cost(work, card()).bytes_read.count(), rows + 4 * 512 * 1024 * 2);
}

TEST(CostLaw, CausalAttentionDoesTheLowerTriangleOnly) {
  AttentionWork full{
      .batch = 1, .q_heads = 1, .kv_heads = 1, .q_len = 4, .kv_len = 6, .qk_dim = 8, .v_dim = 16};
  AttentionWork causal = full;
  causal.causal = true;
  EXPECT_EQ(cost(full, card()).flops.count(), 2 * 4 * 6 * (8 + 16));
  EXPECT_EQ(cost(causal, card()).flops.count(), 2 * (3 + 4 + 5 + 6) * (8 + 16));
  causal.q_len = 6;
  causal.kv_len = 4;
  EXPECT_EQ(cost(causal, card()).flops.count(), 2 * (1 + 2 + 3 + 4) * (8 + 16));
}

TEST(CostLaw, AttentionBackwardMultipliesFiveTimesInsteadOfTwo) {
  AttentionWork work{.batch = 1,
                     .q_heads = 2,
                     .kv_heads = 2,
                     .q_len = 256,
                     .kv_len = 256,
                     .qk_dim = 64,
                     .v_dim = 64};
  const auto forward = cost(work, card()).flops.count();
  work.backward = true;
  EXPECT_EQ(2 * cost(work, card()).flops.count(), 5 * forward);
}

TEST(CostLaw, ConvolutionPassesDoTheSameArithmetic) {
  ConvolutionWork work{.batch = 2,
                       .groups = 4,
                       .in_channels = 32,
                       .out_channels = 64,
                       .in_positions = 100,
                       .out_positions = 81,
                       .kernel_positions = 9};
  const std::int64_t expected = 2LL * 2 * 81 * 64 * (32 / 4) * 9;
  for (auto pass :
       {ConvolutionPass::kForward, ConvolutionPass::kInputGrad, ConvolutionPass::kWeightGrad}) {
    work.pass = pass;
    EXPECT_EQ(cost(work, card()).flops.count(), expected);
  }
}

TEST(CostLaw, SelectingMoreNeverCostsLessAndAFullSortCostsMost) {
  SortWork work{.rows = 16, .columns = 100'000, .k = 1};
  SimTime before(0);
  for (std::int64_t k : {1, 8, 32, 33, 1000, 99'999, 100'000}) {
    work.k = k;
    const SimTime now = cost(work, card()).busy_of(Pipe::kVector);
    EXPECT_LE(before, now) << k;
    before = now;
  }
}

TEST(CostLaw, ZeroSizedWorkCostsTheLaunchFloorOnly) {
  const std::vector<Work> empty = {
      VectorWork{},
      matmul(0, 8, 8),
      matmul(8, 0, 8),
      RowWork{},
      CopyWork{},
      GatherWork{},
      SortWork{},
      AttentionWork{},
      GroupedMatmulWork{},
      ConvolutionWork{},
      HostWork{},
      UndescribedWork{},
      CopyWork{.route = CopyRoute::kHostToDevice},
      CopyWork{.route = CopyRoute::kPeer},
  };
  for (const Work& work : empty) {
    const KernelTime time = cost(work, card());
    EXPECT_EQ(time.duration, card().launch_floor) << to_text(work);
    EXPECT_EQ(name(time.bound), "launch") << to_text(work);
  }
}

TEST(CostLaw, MatmulWithoutAnInnerDimensionWritesItsZeros) {
  const KernelTime time = cost(matmul(1024, 1024, 0), card());
  EXPECT_EQ(time.flops.count(), 0);
  EXPECT_EQ(time.bytes_written.count(), 1024 * 1024 * 2);
}

TEST(CostLaw, HugeSizesNeitherOverflowNorWrap) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  constexpr Bytes kBytes(16 * kHuge);
  const std::vector<Work> huge = {
      VectorWork{.elements = kHuge, .read = kBytes, .written = kBytes, .special_ops = 20},
      matmul(kHuge, kHuge, kHuge),
      RowWork{.rows = kHuge, .columns = kHuge, .read = kBytes, .passes = 3},
      GatherWork{.items = kHuge, .item = Bytes(1), .index = kBytes},
      SortWork{.rows = kHuge, .columns = kHuge, .k = kHuge},
      AttentionWork{.batch = kHuge,
                    .q_heads = kHuge,
                    .kv_heads = kHuge,
                    .q_len = kHuge,
                    .kv_len = kHuge,
                    .qk_dim = kHuge,
                    .v_dim = kHuge},
      CopyWork{.read = kBytes, .written = kBytes, .run = Bytes(1)},
      HostWork{.to_host = kBytes, .to_device = kBytes, .host_traffic = kBytes},
      UndescribedWork{.read = kBytes, .written = kBytes},
  };
  for (const Work& work : huge) {
    const KernelTime time = cost(work, card());
    EXPECT_GT(time.duration, std::chrono::seconds(1)) << to_text(work);
    EXPECT_GT(time.energy.count(), 0) << to_text(work);
    EXPECT_GE(time.flops.count(), 0) << to_text(work);
    EXPECT_GE(time.duration, slowest_pipe(time)) << to_text(work);
  }
}

TEST(CostLaw, TheSameQuestionHasTheSameAnswer) {
  for (const Work& work : sample_works()) {
    const KernelTime a = cost(work, card());
    const KernelTime b = cost(work, preset("ascend950pr"));
    EXPECT_EQ(a.duration, b.duration);
    EXPECT_EQ(a.energy, b.energy);
    EXPECT_EQ(a.busy, b.busy);
  }
}

TEST(CostLaw, UndescribedWorkIsTimedAsADenseCopyAndSaysSo) {
  const UndescribedWork work{.read = Bytes(123'456'789), .written = Bytes(98'765'432)};
  const KernelTime time = cost(work, card());
  const KernelTime copy = cost(CopyWork{.read = work.read, .written = work.written}, card());
  EXPECT_EQ(time.duration, copy.duration);
  EXPECT_EQ(time.provenance, Provenance::kUndescribed);
  EXPECT_EQ(copy.provenance, Provenance::kRoofline);
}

}  // namespace
}  // namespace npu_sim::model
