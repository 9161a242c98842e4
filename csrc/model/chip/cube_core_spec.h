// One cube core: its buffers, the rates of the paths between them, and what each command costs.
#pragma once

#include <cstdint>

namespace npu_sim::model {

// Rates are bytes a cycle of one core; cycles are of the chip's clock.
struct CubeCoreSpec {
  std::int64_t l0a_bytes = 0;  // left operand of one multiply command
  std::int64_t l0b_bytes = 0;  // right operand
  std::int64_t l0c_bytes = 0;  // accumulator
  double rows = 16;            // granularity of m and of n of one multiply command
  double columns = 16;
  double narrow_efficiency = 1;     // share of the peak that formats under 16 bits sustain
  double mad_cycles = 0;            // a multiply command beyond its arithmetic
  double l0a_bytes_per_cycle = 0;   // L1 -> L0A
  double l0b_bytes_per_cycle = 0;   // L1 -> L0B
  double load_cycles = 0;           // a load L1 -> L0 beyond its bytes
  double mte2_bytes_per_cycle = 0;  // L2 -> L1, rows of whole 32 bytes
  double mte2_unaligned_bytes_per_cycle = 0;  // rows that start at odd places
  double scale_rate = 1;                      // block scales: share of the operands' rate
  double fixpipe_elements_per_cycle = 0;      // L0C -> GM
  double fixpipe_bytes_per_cycle = 0;
  double fixpipe_cycles = 0;  // a drain of one tile beyond its elements
  double unit_flag_mads = 0;  // multiply commands that a drain stands by for; 0: no unit flag
  double fetch_sharing = 1;   // cores that one fetch from L2 serves
  double splits_tail = 0;     // 1: the last wave's tiles are split over idle cores
  double splits_grid = 0;     // 1: cores form a grid over m and n; 0: they take tiles in order
  double cube_start_ns = 0;   // a cube kernel's start beyond the launch floor
  double mix_start_ns = 0;    // a kernel of cube and vector cores: beyond the launch floor
  double mask_start_ns = 0;   // a causal kernel's start beyond that: its mask
  double first_fill_ns = 0;   // from the first fetch to the first multiply, bytes apart
  double group_sync_ns = 0;   // all cores wait for one another once
  double stage_sync_ns = 0;   // a cube core and its vector cores hand over a block
  double exchange_bytes_per_cycle = 0;  // one vector core with L2 or with the cube's buffers
  double exchanges_directly = 0;        // 1: L0C -> UB -> L1; 0: by way of L2
  double stage_exposure = 1;            // of the shorter stage, where buffers hold one block only
  double block_latency_ns = 0;          // from a request for a block of keys to its arrival
  double pass_restart = 0;              // share of a pass's first hand-overs that shows
  double fetch_cycles = 0;              // a descriptor of MTE2 beyond its bytes
  double packs_query_rows = 0;          // 1: query heads of one KV head share a tile for any q_len
};

}  // namespace npu_sim::model
