#include "model/core/attention.h"

#include <algorithm>
#include <cmath>

#include "model/core/cube.h"
#include "model/core/fixpipe.h"
#include "model/core/mte.h"
#include "model/cost/demand.h"

namespace npu_sim::model {
namespace {

// Vector instructions a score, counted from the FlashAttention algorithm: forward scales, takes
// the running maximum, subtracts, exponentiates and sums; backward recomputes the exponential and
// forms dS = P * (dP - D). An element of the result is rescaled and added to.
constexpr std::int16_t kForwardLinearOps = 4;
constexpr std::int16_t kBackwardLinearOps = 8;
constexpr std::int16_t kSpecialOps = 1;
constexpr double kUpdateOps = 2;
constexpr double kDequantiseOps = 2;  // an element of a quantised key or value: convert, scale

constexpr double kTile = 128;  // rows of a tile, and keys of a block
constexpr double kGrain = 16;  // smallest tile of the cube
constexpr double kSumBytes = 4;
constexpr double kBitsPerByte = 8;
constexpr double kNsPerSecond = 1e9;
constexpr double kHandOvers = 4;  // scores, probabilities, result, and back: first block only
constexpr double kStatisticsBytes = 8192;  // running maxima and sums of a tile, and its masks

double count(std::int64_t value) { return static_cast<double>(value); }

// Elements of a key and its value that are moved.
double kv_elements(const AttentionWork& work) {
  return count(work.qk_dim) + (work.v_in_k ? 0 : count(work.v_dim));
}

// Query rows that share keys, and how often that happens.
struct Rows {
  double groups = 0;   // passes over different keys or by different heads
  double rows = 0;     // rows of a group
  double queries = 1;  // different positions in one full tile
};

Rows rows_of(const AttentionWork& work, const ChipSpec& chip) {
  const double heads = count(work.q_heads);
  const double shared = std::max(1.0, heads / std::max(1.0, count(work.kv_heads)));
  const bool packs =
      !work.backward && (work.q_len == 1 || work.v_in_k || chip.cube_core.packs_query_rows >= 1);
  if (!packs) return {count(work.batch) * heads, count(work.q_len), kTile};
  return {count(work.batch) * heads / shared, count(work.q_len) * shared,
          std::max(1.0, kTile / shared)};
}

// Blocks of keys that a tile of query rows passes over, on average.
double blocks_seen(const AttentionWork& work, double queries) {
  const double kv = count(work.kv_len);
  double seen = std::ceil(kv / kTile);
  if (work.causal) {
    // From the corner's diagonal on: half the queries' triangle, and what sticks out of its steps.
    const double q = std::min(count(work.q_len), kv);
    const double steps = std::max(std::min(queries, count(work.q_len)), std::min(kTile, kv));
    seen = std::min(seen, (kv - q + (q + steps) / 2) / kTile);
  }
  if (work.window > 0) seen = std::min(seen, count(work.window) / kTile + 1);
  return std::max(seen, std::min(1.0, kv / kTile));
}

// Times of one block of scores, in seconds.
struct Block {
  PipeSeconds pipes;
  double vector = 0;
  double exchanged = 0;  // bytes by way of L2
};

Block block_of(const AttentionWork& work, double rows, const ChipSpec& chip) {
  const double qk = count(work.qk_dim);
  const double v = count(work.v_dim);
  const double products_k = work.backward ? 3 : 1;
  const double products_v = work.backward ? 2 : 1;
  const double element = cube_bits(work.format, chip) / kBitsPerByte;
  Block block;
  block.pipes.cube = products_k * cube_seconds(rows, kTile, qk, kTile, work.format, chip) +
                     products_v * cube_seconds(rows, v, kTile, kTile, work.format, chip);
  const GemmShape shape{.a = work.format, .b = work.format, .cube = work.format};
  const Tile tile{.m = rows, .n = kTile, .k = kTile};
  block.pipes.mte1 = (products_k * mte1_seconds(shape, tile, qk, chip)) +
                     (products_v * mte1_seconds(shape, tile, v, chip));
  block.pipes.fixpipe = drain_seconds(rows * kTile, Format::kFp32, chip) * products_k +
                        drain_seconds(rows * v, Format::kFp32, chip) * products_v;

  const double linear = work.backward ? kBackwardLinearOps : kForwardLinearOps;
  const double ops = linear + kSpecialOps / chip.special_rate;
  double lanes = rows * kTile * ops + rows * v * kUpdateOps * products_v;
  if (work.kv_row > Bytes(0)) lanes += kTile * kv_elements(work) * kDequantiseOps;
  const double pairs = chip.vector_cores / static_cast<double>(chip.cube_cores);
  block.vector = lanes / (chip.vector_fp32_op_per_s / chip.cube_cores);
  if (chip.cube_core.exchanges_directly < 1) {
    block.exchanged =
        rows * kTile * (kSumBytes + element) * products_k + rows * v * kSumBytes * products_v;
    if (work.kv_row > Bytes(0)) block.exchanged += 2 * kTile * kv_elements(work) * element;
    block.vector +=
        block.exchanged / pairs / (chip.cube_core.exchange_bytes_per_cycle * chip.clock_hz);
  }
  return block;
}

double fetch_seconds(const AttentionWork& work, const ChipSpec& chip) {
  const double row = kv_row_bytes(work);
  const double pieces = work.kv_block > 0 ? std::ceil(kTile / count(work.kv_block)) : 1;
  const CubeCoreSpec& core = chip.cube_core;
  return (row * kTile / core.fetch_sharing / core.mte2_bytes_per_cycle +
          pieces * core.fetch_cycles) /
         chip.clock_hz;
}

// How much of one block's stages run beside another's: by what a vector core's scratchpad holds.
enum class Overlap { kFull, kNone, kSpills };

Overlap overlap_of(double rows, double v, const ChipSpec& chip) {
  const double pairs = std::max(1.0, chip.vector_cores / static_cast<double>(chip.cube_cores));
  const double mine = rows / pairs;
  constexpr double kScoreBytes = 4 + 2;  // fp32 scores and 16-bit probabilities
  const double scores = mine * kTile * kScoreBytes;
  const double result = mine * v * kSumBytes;
  const double ub = static_cast<double>(chip.ub_bytes) - kStatisticsBytes;
  if (2 * scores + 2.5 * result <= ub) return Overlap::kFull;
  if (scores + 2 * result <= ub) return Overlap::kNone;
  return Overlap::kSpills;
}

double spill_seconds(double rows, double v, const ChipSpec& chip) {
  const double pairs = std::max(1.0, chip.vector_cores / static_cast<double>(chip.cube_cores));
  const double bytes = 2 * rows / pairs * v * kSumBytes;
  return bytes / (chip.cube_core.exchange_bytes_per_cycle * chip.clock_hz);
}

void add_combine(AttentionPlan& plan, const AttentionWork& work, double rows,
                 const ChipSpec& chip) {
  if (plan.kv_splits <= 1) return;
  const double bytes = 2 * rows * plan.kv_splits * count(work.v_dim) * kSumBytes;
  plan.exchanged_bytes += bytes;
  plan.sync_seconds = chip.cube_core.group_sync_ns / kNsPerSecond + bytes / chip.l2_bytes_per_s;
}

}  // namespace

double kv_row_bytes(const AttentionWork& work) {
  if (work.kv_row > Bytes(0)) return static_cast<double>(work.kv_row.count());
  return stored_bytes(kv_elements(work), work.format);
}

double scores_of(const AttentionWork& work) {
  const double q = count(work.q_len);
  const double kv = count(work.kv_len);
  const double pairs =
      !work.causal ? q * kv : (q <= kv ? q * kv - q * (q - 1) / 2 : kv * (kv + 1) / 2);
  return work.window > 0 ? std::min(pairs, q * (count(work.window) + 1)) : pairs;
}

AttentionPlan plan_attention(const AttentionWork& work, const ChipSpec& chip) {
  const Rows shape = rows_of(work, chip);
  const double rows = std::min(kTile, rounded_up(std::max(1.0, shape.rows), kGrain));
  const double seen = blocks_seen(work, std::min(shape.queries, kTile));
  AttentionPlan plan{.tasks = shape.groups * std::ceil(shape.rows / rows),
                     .row_tile = rows,
                     .kv_tile = kTile,
                     .pipes = {}};
  const double cores = chip.cube_cores;
  if (plan.tasks < cores && !work.backward) {
    plan.kv_splits = std::max(1.0, std::min(std::floor(cores / plan.tasks), std::ceil(seen)));
  }
  plan.blocks =
      std::ceil(plan.tasks / cores) * std::max(std::min(seen, 1.0), seen / plan.kv_splits);

  const Block block = block_of(work, rows, chip);
  const double fetch = fetch_seconds(work, chip);
  plan.pipes = {.cube = plan.blocks * block.pipes.cube,
                .mte1 = plan.blocks * block.pipes.mte1,
                .mte2 = plan.blocks * fetch,
                .fixpipe = plan.blocks * block.pipes.fixpipe};
  const Overlap overlap = overlap_of(rows, count(work.v_dim), chip);
  const double vector =
      block.vector +
      (overlap == Overlap::kSpills ? spill_seconds(rows, count(work.v_dim), chip) : 0);
  plan.vector_seconds = plan.blocks * vector;
  const double cube_side = std::max(block.pipes.slowest(), fetch);
  const double shorter = std::min(cube_side, vector);
  const double exposed = overlap == Overlap::kFull ? 0 : chip.cube_core.stage_exposure * shorter;
  // The next block's keys are asked for when this block's have left their buffer.
  const double arrival = fetch + chip.cube_core.block_latency_ns / kNsPerSecond;
  const double stages = std::max(std::max(cube_side, vector) + exposed, arrival);
  const double hand_overs = kHandOvers * chip.cube_core.stage_sync_ns / kNsPerSecond;
  plan.head_seconds = chip.cube_core.first_fill_ns / kNsPerSecond + hand_overs + shorter - exposed;
  // A pass's first block goes through its stages one after the other.
  const double restart = std::max(0.0, cube_side + vector + hand_overs - stages);
  plan.core_seconds = plan.blocks * stages +
                      chip.cube_core.pass_restart * (std::ceil(plan.tasks / cores) - 1) * restart;
  plan.fetched_bytes =
      plan.tasks * seen * kTile * kv_row_bytes(work) / chip.cube_core.fetch_sharing;
  plan.exchanged_bytes = plan.tasks * seen * block.exchanged;
  add_combine(plan, work, shape.groups * shape.rows, chip);
  return plan;
}

}  // namespace npu_sim::model
