#include "model/work/work.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <unordered_set>

#include "model/work/hash.h"
#include "model/work/name.h"
#include "sample_works.h"

namespace npu_sim::model {
namespace {

TEST(Work, SamplesCoverEveryKind) {
  std::set<std::size_t> kinds;
  for (const Work& work : sample_works()) kinds.insert(work.index());
  EXPECT_EQ(kinds.size(), std::variant_size_v<Work>);
}

TEST(WorkName, IsTheKindOfKernel) {
  EXPECT_EQ(name(NoWork{}), "none");
  EXPECT_EQ(name(VectorWork{}), "vector");
  EXPECT_EQ(name(MatmulWork{}), "matmul");
  EXPECT_EQ(name(RowWork{}), "row");
  EXPECT_EQ(name(GatherWork{}), "gather");
  EXPECT_EQ(name(SortWork{}), "sort");
  EXPECT_EQ(name(AttentionWork{}), "attention");
  EXPECT_EQ(name(GroupedMatmulWork{}), "grouped_matmul");
  EXPECT_EQ(name(ConvolutionWork{}), "convolution");
  EXPECT_EQ(name(HostWork{}), "host");
  EXPECT_EQ(name(UndescribedWork{}), "undescribed");
}

TEST(WorkName, OfACopyIsItsRoute) {
  EXPECT_EQ(name(CopyWork{}), "copy");
  EXPECT_EQ(name(CopyWork{.route = CopyRoute::kHostToDevice}), "copy_h2d");
  EXPECT_EQ(name(CopyWork{.route = CopyRoute::kDeviceToHost}), "copy_d2h");
  EXPECT_EQ(name(CopyWork{.route = CopyRoute::kPeer}), "copy_peer");
}

TEST(WorkText, SaysShapeAndFormats) {
  MatmulWork matmul{.m = 4096, .n = 512, .k = 128};
  matmul.a = matmul.b = matmul.out = Format::kBf16;
  EXPECT_EQ(to_text(matmul), "matmul [4096, 128] @ [128, 512] bf16");
  matmul.batch = 3;
  matmul.b = Format::kInt4;
  matmul.out = Format::kFp32;
  EXPECT_EQ(to_text(matmul), "matmul 3 x [4096, 128] @ [128, 512] bf16 x int4 -> fp32");
  EXPECT_EQ(to_text(NoWork{}), "none");
  EXPECT_EQ(to_text(SortWork{.rows = 4, .columns = 256, .k = 8}), "sort 4x256 top 8 fp32");
  EXPECT_EQ(to_text(AttentionWork{.batch = 1,
                                  .q_heads = 32,
                                  .kv_heads = 8,
                                  .q_len = 16,
                                  .kv_len = 64,
                                  .qk_dim = 128,
                                  .v_dim = 64,
                                  .causal = true}),
            "attention b1 h32/8 16x64 d128/64 bf16 causal");
}

TEST(WorkText, StartsWithTheNameForEveryKind) {
  for (const Work& work : sample_works()) {
    EXPECT_TRUE(to_text(work).starts_with(name(work))) << to_text(work);
  }
}

TEST(GroupSizes, AreABagWithoutEmptyGroups) {
  const GroupSizes sizes({3, 0, 5, 3});
  EXPECT_EQ(sizes.groups(), 3);
  EXPECT_EQ(sizes.rows(), 11);
  EXPECT_TRUE(std::ranges::equal(sizes.alike(), std::array{Alike{5, 1}, Alike{3, 2}}));
  EXPECT_EQ(sizes, GroupSizes({5, 3, 3, 0, 0}));
  EXPECT_NE(sizes, GroupSizes({5, 3, 2, 1}));
  EXPECT_EQ(GroupSizes({0, 0}), GroupSizes());
}

TEST(GroupSizes, SpreadEvenlyDifferByOneRowAtMost) {
  EXPECT_EQ(GroupSizes::even(4, 10), GroupSizes({3, 3, 2, 2}));
  EXPECT_EQ(GroupSizes::even(256, 3), GroupSizes({1, 1, 1}));
  EXPECT_EQ(GroupSizes::even(0, 3), GroupSizes());
}

TEST(GroupSizes, HugeOnesDoNotOverflow) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  EXPECT_EQ(GroupSizes({kHuge, kHuge, kHuge}).rows(), kHuge);
}

TEST(WorkHash, EqualWorksHashEqually) {
  const auto first = sample_works();
  const auto second = sample_works();
  for (std::size_t i = 0; i < first.size(); ++i) {
    ASSERT_EQ(first[i], second[i]);
    EXPECT_EQ(WorkHash{}(first[i]), WorkHash{}(second[i])) << to_text(first[i]);
  }
}

TEST(WorkHash, EveryFieldOfAMatmulCounts) {
  const MatmulWork base{.m = 1, .n = 2, .k = 3};
  std::set<std::size_t> hashes{WorkHash{}(base)};
  const auto add = [&](auto change) {
    MatmulWork work = base;
    change(work);
    EXPECT_TRUE(hashes.insert(WorkHash{}(work)).second);
  };
  add([](MatmulWork& work) { work.batch = 2; });
  add([](MatmulWork& work) { work.m = 2; });
  add([](MatmulWork& work) { work.n = 3; });
  add([](MatmulWork& work) { work.k = 4; });
  add([](MatmulWork& work) { work.a = Format::kBf16; });
  add([](MatmulWork& work) { work.b = Format::kBf16; });
  add([](MatmulWork& work) { work.out = Format::kBf16; });
  add([](MatmulWork& work) { work.a_transposed = true; });
  add([](MatmulWork& work) { work.b_transposed = true; });
  add([](MatmulWork& work) { work.b_shared = true; });
  add([](MatmulWork& work) { work.adds_input = true; });
  add([](MatmulWork& work) { work.added = Bytes(1); });
}

TEST(WorkHash, KindsWithTheSameFieldsDiffer) {
  const UndescribedWork bytes{.read = Bytes(8), .written = Bytes(4)};
  const HostWork host{.to_host = Bytes(8), .to_device = Bytes(4)};
  const VectorWork vector{.elements = 8, .read = Bytes(4)};
  const std::set<std::size_t> hashes{WorkHash{}(bytes), WorkHash{}(host), WorkHash{}(vector),
                                     WorkHash{}(NoWork{})};
  EXPECT_EQ(hashes.size(), 4U);
}

TEST(WorkHash, SpreadsShapesOverTheLowBits) {
  constexpr std::size_t kBuckets = 4096;
  std::unordered_set<std::size_t> used;
  for (std::int64_t m = 1; m <= 64; ++m) {
    for (std::int64_t n = 1; n <= 64; ++n) {
      used.insert(WorkHash{}(MatmulWork{.m = 16 * m, .n = 128 * n, .k = 4096}) % kBuckets);
    }
  }
  // A random function fills 1 - 1/e of the buckets, 2589; five standard deviations below is 2490.
  EXPECT_GT(used.size(), 2490U);
}

}  // namespace
}  // namespace npu_sim::model
