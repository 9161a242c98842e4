// Attention by blocks: what causality, windows, heads and splits change, and laws of its time.
#include <gtest/gtest.h>

#include <cmath>

#include "model/core/attention.h"
#include "model/cost/cost.h"

namespace npu_sim::model {
namespace {

using base::SimTime;

const ChipSpec& card() {
  static const ChipSpec chip = preset("ascend950pr");
  return chip;
}

AttentionWork prefill(std::int64_t length, std::int64_t head = 128) {
  return {.batch = 4,
          .q_heads = 32,
          .kv_heads = 8,
          .q_len = length,
          .kv_len = length,
          .qk_dim = head,
          .v_dim = head};
}

AttentionWork decode(std::int64_t batch, std::int64_t length) {
  AttentionWork work = prefill(length);
  work.batch = batch;
  work.q_len = 1;
  return work;
}

SimTime time_of(const AttentionWork& work) { return cost(work, card()).duration; }

TEST(CoreAttention, CausalitySkipsTheBlocksAboveTheDiagonal) {
  AttentionWork causal = prefill(8192);
  causal.causal = true;
  const double share =
      plan_attention(causal, card()).blocks / plan_attention(prefill(8192), card()).blocks;
  EXPECT_NEAR(share, (64.0 + 1) / (2 * 64), 0.01);  // 64 blocks of 128 keys
}

TEST(CoreAttention, AWindowCapsTheKeysOfAQuery) {
  AttentionWork window = prefill(8192);
  window.causal = true;
  window.window = 512;
  const double seen = plan_attention(window, card()).blocks;
  window.q_len = window.kv_len = 16384;
  EXPECT_NEAR(plan_attention(window, card()).blocks / seen, 2, 0.05);
}

TEST(CoreAttention, KeysThatArriveLateHideBehindTheStagesOfFullTiles) {
  const ChipSpec slow = preset("ascend910b2");
  ChipSpec prompt = slow;
  prompt.cube_core.block_latency_ns = 0;
  const auto slowdown = [&](const AttentionWork& work) {
    return plan_attention(work, slow).core_seconds / plan_attention(work, prompt).core_seconds;
  };
  EXPECT_LT(slowdown(prefill(8192)), 1.05);
  EXPECT_GT(slowdown(decode(64, 8192)), 2);
}

TEST(CoreAttention, APassThatRestartsCostsItsHandOversOnceAPass) {
  ChipSpec chip = preset("ascend910b2");
  const double restarts = plan_attention(prefill(1024), chip).core_seconds;
  chip.cube_core.pass_restart = 0;
  const AttentionPlan plan = plan_attention(prefill(1024), chip);
  const double passes = std::ceil(plan.tasks / chip.cube_cores) - 1;
  EXPECT_GT(restarts - plan.core_seconds, passes * 4 * chip.cube_core.stage_sync_ns * 1e-9);
  EXPECT_LT(restarts - plan.core_seconds, passes * 4e-6);
}

TEST(CoreAttention, OneLongSequenceIsSplitOverTheCores) {
  AttentionWork work = decode(1, 65536);
  const AttentionPlan plan = plan_attention(work, card());
  EXPECT_GT(plan.kv_splits, 1);
  EXPECT_GT(plan.sync_seconds, 0);
  work.batch = 64;
  EXPECT_EQ(plan_attention(work, card()).kv_splits, 1);
}

TEST(CoreAttention, StagesOfWideHeadsWaitForOneAnother) {
  const AttentionPlan narrow = plan_attention(prefill(4096, 128), card());
  EXPECT_NEAR(narrow.core_seconds / std::max(narrow.pipes.slowest(), narrow.vector_seconds), 1,
              1e-9);
  const AttentionPlan wide = plan_attention(prefill(4096, 256), card());
  EXPECT_GT(wide.core_seconds, 1.2 * std::max(wide.pipes.slowest(), wide.vector_seconds));
}

TEST(CoreAttention, QueryHeadsOfOneKeyShareATileInDecode) {
  AttentionWork grouped = decode(64, 4096);
  AttentionWork own = grouped;
  own.kv_heads = own.q_heads;
  EXPECT_EQ(4 * plan_attention(grouped, card()).tasks, plan_attention(own, card()).tasks);
}

TEST(CoreAttention, AQuantisedCacheMovesItsBytesAndIsConverted) {
  const AttentionWork wide = decode(64, 8192);
  AttentionWork narrow = wide;
  narrow.kv_row = Bytes((wide.qk_dim + wide.v_dim) * 1);  // 8 bits an element instead of 16
  EXPECT_LT(time_of(narrow), time_of(wide));
  EXPECT_GT(2 * time_of(narrow), time_of(wide));
  EXPECT_GT(plan_attention(narrow, card()).vector_seconds,
            plan_attention(wide, card()).vector_seconds);
  const Bytes keys(64 * 8192 * wide.kv_heads * narrow.kv_row.count());
  EXPECT_EQ(cost(wide, card()).bytes_read - cost(narrow, card()).bytes_read, keys);
}

TEST(CoreAttention, GatheredKeysCostADescriptorEach) {
  AttentionWork gathered = decode(64, 4096);
  gathered.kv_block = 1;
  EXPECT_GT(plan_attention(gathered, card()).pipes.mte2,
            plan_attention(decode(64, 4096), card()).pipes.mte2);
}

TEST(CoreAttention, NeverGetsFasterWhenASizeGrows) {
  for (const bool causal : {false, true}) {
    for (const std::int64_t q : {1, 2, 17, 128, 1000}) {
      for (const std::int64_t kv : {1, 127, 128, 1000, 4096}) {
        AttentionWork work = prefill(1);
        work.causal = causal;
        work.q_len = q;
        work.kv_len = kv;
        AttentionWork longer = work;
        longer.kv_len = kv + 1;
        EXPECT_LE(time_of(work), time_of(longer)) << q << " " << kv << " " << causal;
        AttentionWork more = work;
        more.batch = 5;
        EXPECT_LE(time_of(work), time_of(more)) << q << " " << kv << " " << causal;
      }
    }
  }
}

TEST(CoreAttention, NeverBeatsThePeaks) {
  for (const std::string& name : preset_names()) {
    const ChipSpec chip = preset(name);
    for (const AttentionWork& work : {prefill(4096), decode(64, 8192), prefill(2048, 256)}) {
      const KernelTime time = cost(work, chip);
      const double seconds = static_cast<double>(time.duration.count()) * 1e-12;
      EXPECT_GE(seconds * chip.cube_fp16_flop_per_s, static_cast<double>(time.flops.count()));
      EXPECT_GE(seconds * chip.hibl_bytes_per_s,
                static_cast<double>((time.bytes_hibl_read + time.bytes_hibl_written).count()));
    }
  }
}

}  // namespace
}  // namespace npu_sim::model
