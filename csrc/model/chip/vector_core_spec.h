// One vector core: how fast it issues, and what its scratchpad's traffic with memory costs.
#pragma once

namespace npu_sim::model {

struct VectorCoreSpec {
  double issue_per_cycle = 1;          // full-rate and special instructions together
  double reduce_cycles = 0;            // one cross-lane reduction of a register, pipelined
  double reduce_latency_cycles = 0;    // until what depends on a reduction can start
  double odd_row_cycles = 0;           // a row that does not fill its last block of 32 bytes
  double gather_cycles = 0;            // one register gathered from or scattered to computed lanes
  double data_cache_bytes = 0;         // of its threads; 0: the core has none
  double read_bytes_per_s = 0;         // memory to scratchpad, one core alone
  double shared_read_bytes_per_s = 0;  // the same while more than half of the cores read
  double write_bytes_per_s = 0;        // scratchpad to memory
  double tile_bytes = 0;               // operands of one step of the double-buffered pipeline
  double least_bytes = 0;              // a core gets no less when a kernel is too small for all
  double descriptor_ns = 0;            // one transfer command, of any number of pieces
  double piece_ns = 0;                 // one piece of a strided transfer
  double odd_piece_ns = 0;             // the same where pieces are no multiples of 32 bytes
  double dependent_item_ns = 0;        // one piece whose place is read just before it is fetched
  double scalar_read_ns = 0;           // one number read from memory by the scalar unit
  double fill_ns = 0;                  // all cores start; first bytes in, last bytes out
  double row_start_ns = 0;             // beyond an element-wise kernel: set-up of rows
  double gather_start_ns = 0;          // the same of places
  double barrier_ns = 0;               // all cores wait for one another, then one adds up
  double unaligned_rate = 1;           // share of the rate when rows start between transactions
  double nz_bytes_per_s = 0;           // memory to one cube core's L1, into fractal order
  double nz_piece_ns = 0;              // one row piece of that
  double nz_unaligned_rate = 1;        // as unaligned_rate, into fractal order
};

}  // namespace npu_sim::model
