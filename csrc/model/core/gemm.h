// A product on the cubes, as a tiling function sees it: shape, tile, split over the cores, and the
// time each pipe of the busiest core takes.
#pragma once

#include <cstdint>

#include "base/format.h"
#include "model/chip/chip_spec.h"
#include "model/work/group_sizes.h"

namespace npu_sim::model {

using base::Format;

// batch x ([m, k] @ [k, n]). Doubles: products of sizes near 2^40 exceed 64-bit integers.
struct GemmShape {
  double batch = 1;
  double m = 0;
  double n = 0;
  double k = 0;
  Format a = Format::kBf16;  // in memory
  Format b = Format::kBf16;
  Format cube = Format::kBf16;  // what the cube multiplies; narrower operands are widened to it
  Format out = Format::kBf16;
  bool b_shared = false;   // one right operand for the whole batch
  bool unaligned = false;  // rows in memory that are no multiple of 32 bytes
  double a_share = 1;      // of the left operand's elements that move: a convolution unfolds in L1
  GroupSizes groups{};     // grouped: rows of each, m is their sum
};

// Rows of tiles of `side` rows that one product's results take, groups apart.
[[nodiscard]] double tile_rows(const GemmShape& shape, double side);

struct Tile {
  double m = 0;
  double n = 0;
  double k = 0;        // of one multiply command
  double k_split = 1;  // parts of k that different cores take
};

// Seconds of the busiest core's pipes.
struct PipeSeconds {
  double cube = 0;
  double mte1 = 0;
  double mte2 = 0;
  double fixpipe = 0;

  [[nodiscard]] double slowest() const;
};

struct GemmPlan {
  Tile tile;
  double tiles = 0;    // over all cores, k splits included
  double waves = 0;    // tiles of the busiest core; a split tile counts as its share
  double balance = 1;  // mean over busiest core: profilers report the mean
  PipeSeconds pipes;
  double head_seconds = 0;     // first fill
  double tail_seconds = 0;     // last drain
  double sync_seconds = 0;     // sum of k splits over the cores
  double fetched_bytes = 0;    // L2 -> L1, all cores
  double read_bytes = 0;       // compulsory, and what L2 cannot keep until it is wanted again
  double written_bytes = 0;    // the result
  double workspace_bytes = 0;  // partial sums of k splits, through L2

  // The plan alone on the card, launch floor and start apart.
  [[nodiscard]] double seconds(const ChipSpec& chip) const;
};

// What `tile` makes of `shape`, whose results are `rows` rows of tiles; tile_rows() of it unless
// told.
[[nodiscard]] GemmPlan plan_tile(const GemmShape& shape, const Tile& tile, double rows,
                                 const ChipSpec& chip);
[[nodiscard]] GemmPlan plan_tile(const GemmShape& shape, const Tile& tile, const ChipSpec& chip);

// The fastest plan among the tiles that fit the buffers.
[[nodiscard]] GemmPlan plan_gemm(const GemmShape& shape, const ChipSpec& chip);

}  // namespace npu_sim::model
