// Numbers of the vector cores. "fit" names the rows a number was fitted on and its range; the
// joint fit is of the single-kernel rows of hicann/cann-bench@d59d44c on the 950PR (docs/model.md).
#include "model/chip/preset_data.h"

namespace npu_sim::model {
namespace {

constexpr SourcedNumber kVector950[] = {
    {"vector_issue_per_cycle", 1.37, "cannmirror/asc-devkit@0da921b: dual issue, IPC up to 1.37"},
    {"vector_reduce_cycles", 4, "fit: softmax and dynamic_quant of 67 columns, 3 to 6"},
    {"vector_reduce_latency_cycles", 78,
     "fit: mhc_sinkhorn of 20 steps; VCADD 22, VDIV 17 and two loads of 9 (pto-isa) give 57"},
    {"vector_odd_row_cycles", 0, "fit: dynamic_quant of 2048 and 2049 columns, 0 to 30"},
    {"vector_gather_cycles", 33,
     "hicann/pypto@883e7df: a gather of one register takes 20 ns, a scatter 18 ns"},
    {"vector_data_cache_bytes", 131072, "cannmirror/asc-devkit@0da921b: SIMT data cache, 128 KB"},
    {"vector_read_bytes_per_s", 66e9,
     "fit: group_norm on 8 to 32 cores, 60 to 70 GB/s (40 B/cycle)"},
    {"vector_shared_read_bytes_per_s", 54e9,
     "derived: asc-devkit GM to UB re-read in slices, 1.21 GB on 64 cores in 355 us"},
    {"vector_write_bytes_per_s", 66e9, "hicann/pypto@883e7df ini 3510: UB to DDR 40 B/cycle"},
    {"vector_tile_bytes", 16384, "fit: joint, 12 to 24 KB"},
    {"vector_least_bytes", 4096, "assumed: tiling functions give a core 2 to 8 KB at least"},
    {"vector_descriptor_ns", 24,
     "derived: asc-devkit GM to UB in 128 B descriptors on 64 cores, 884 us"},
    {"vector_piece_ns", 5.5,
     "derived: asc-devkit GM to UB, 64 pieces of 128 B a descriptor on 64 cores, 208.6 us"},
    {"vector_odd_piece_ns", 62,
     "fit: transpose of 508 B rows; RoPE in 128 B descriptors (pypto) gives 54 to 62"},
    {"vector_dependent_item_ns", 232, "fit: moe_finalize_routing, 220 to 250"},
    {"vector_scalar_read_ns", 45, "fit: moe_re_routing by ranks x experts, 40 to 55"},
    {"vector_fill_ns", 240, "fit: joint, 0 to 450"},
    {"vector_row_start_ns", 1400, "fit: joint, 1000 to 1500"},
    {"vector_gather_start_ns", 1400, "fit: joint, 1000 to 1500"},
    {"vector_barrier_ns", 2100, "fit: foreach_norm, 1500 to 2300"},
    {"vector_unaligned_rate", 0.982, "derived: asc-devkit GM to UB of 12287 columns, -1.8 %"},
    {"vector_nz_bytes_per_s", 97e9, "derived: asc-devkit ND2NZ re-read in slices, 390 us"},
    {"vector_nz_piece_ns", 3.3, "derived: asc-devkit ND2NZ of 128 B rows on 32 cores, 245.1 us"},
    {"vector_nz_unaligned_rate", 0.922, "derived: asc-devkit ND2NZ of 12287 columns, -7.8 %"},
};

constexpr SourcedNumber kVector910b[] = {
    {"vector_issue_per_cycle", 0.7,
     "fit: gelu, group_norm and dynamic_quant on the 910B2, 0.5 to 1; pto-isa@3186c38 says 2 "
     "cycles a repeat of 256 B, but loads that are counted are operands here"},
    {"vector_reduce_cycles", 90, "fit: softmax and rms_norm on the 910B2, 60 to 110"},
    {"vector_reduce_latency_cycles", 110, "assumed: as the 950 with operands in memory, 60 to 150"},
    {"vector_odd_row_cycles", 200,
     "fit: dynamic_quant of 2048 and 2049 columns on the 910B2, 150 to 300"},
    {"vector_gather_cycles", 33, "assumed: as the 950, 20 to 64"},
    {"vector_data_cache_bytes", 0, "cannmirror/asc-devkit@0da921b: SIMT from the 950 on"},
    {"vector_read_bytes_per_s", 69e9,
     "derived: asc-devkit GM to UB re-read in slices on 48 cores, 365.7 us; pto-isa says 101e9"},
    {"vector_shared_read_bytes_per_s", 69e9, "derived: the same row"},
    {"vector_write_bytes_per_s", 115e9, "hicann/pypto@883e7df ini 2201: UB to L2 64 B/cycle"},
    {"vector_tile_bytes", 4096, "fit: joint on the 910B2, 2 to 8 KB"},
    {"vector_least_bytes", 4096, "assumed: as the 950"},
    {"vector_descriptor_ns", 11.5,
     "derived: asc-devkit GM to UB in 128 B descriptors on 48 cores, 564.8 us"},
    {"vector_piece_ns", 4.7,
     "derived: asc-devkit GM to UB, 64 pieces of 128 B a descriptor, 233.5 us"},
    {"vector_odd_piece_ns", 62, "assumed: as the 950, 30 to 100"},
    {"vector_dependent_item_ns", 250, "fit: moe_finalize_routing on the 910B2, 190 to 260"},
    {"vector_scalar_read_ns", 30, "fit: moe_re_routing on the 910B2, 10 to 40"},
    {"vector_fill_ns", 300, "fit: sigmoid and gelu of 2 MB on the 910B2, 200 to 600"},
    {"vector_row_start_ns", 6000, "fit: softmax and rms_norm of 2 MB on the 910B2, 4000 to 7000"},
    {"vector_gather_start_ns", 200, "fit: the smallest moe_re_routing of the 910B2 takes 3.32 us"},
    {"vector_barrier_ns", 3000, "assumed: as the 950 plus its slower start, 2000 to 4000"},
    {"vector_unaligned_rate", 0.784, "derived: asc-devkit GM to UB of 12287 columns, -21.6 %"},
    {"vector_nz_bytes_per_s", 121e9, "derived: asc-devkit ND2NZ re-read in slices, 415 us"},
    {"vector_nz_piece_ns", 3.05, "derived: asc-devkit ND2NZ of 128 B rows on 24 cores, 300.7 us"},
    {"vector_nz_unaligned_rate", 0.525, "derived: asc-devkit ND2NZ of 12287 columns, -47.5 %"},
};

constexpr SourcedNumber kVectorNvidia[] = {
    {"vector_issue_per_cycle", 1, "assumed: four schedulers feed 128 lanes, certain"},
    {"vector_reduce_cycles", 10, "assumed: five shuffles and adds of a warp, 5 to 20"},
    {"vector_reduce_latency_cycles", 150, "assumed: shuffles and a block barrier, 100 to 300"},
    {"vector_odd_row_cycles", 0, "assumed: threads move elements, not blocks, certain"},
    {"vector_gather_cycles", 32, "assumed: 4 lanes a cycle through L1, 8 to 64"},
    {"vector_data_cache_bytes", 196608, "assumed: 256 KB of L1 less shared memory, 128 to 228 KB"},
    {"vector_read_bytes_per_s", 110e9, "assumed: 64 B/cycle a multiprocessor, 50e9 to 130e9"},
    {"vector_shared_read_bytes_per_s", 42e9, "derived: 5.5 TB/s of L2 over 132 multiprocessors"},
    {"vector_write_bytes_per_s", 110e9, "assumed: as reads, 50e9 to 130e9"},
    {"vector_tile_bytes", 16384, "assumed: bytes in flight a multiprocessor, 8 to 64 KB"},
    {"vector_least_bytes", 4096, "assumed: one block of 256 threads, 16 B each"},
    {"vector_descriptor_ns", 1, "assumed: one warp access, 0.5 to 4"},
    {"vector_piece_ns", 1, "assumed: one warp access, 0.5 to 4"},
    {"vector_odd_piece_ns", 1, "assumed: one warp access, 0.5 to 4"},
    {"vector_dependent_item_ns", 30, "assumed: 600 ns latency over 20 warps in flight, 10 to 60"},
    {"vector_scalar_read_ns", 10, "assumed: cached, 5 to 30"},
    {"vector_fill_ns", 600, "assumed: one memory latency, 400 to 1000"},
    {"vector_row_start_ns", 500, "assumed: block reductions, 0 to 2000"},
    {"vector_gather_start_ns", 500, "assumed: as of rows, 0 to 2000"},
    {"vector_barrier_ns", 2000, "assumed: a second stage, 1000 to 4000"},
    {"vector_unaligned_rate", 0.95, "assumed: one more sector a row, 0.9 to 1"},
    {"vector_nz_bytes_per_s", 110e9, "assumed: as plain reads"},
    {"vector_nz_piece_ns", 1, "assumed: as plain reads"},
    {"vector_nz_unaligned_rate", 0.95, "assumed: as plain reads"},
};

}  // namespace

std::span<const SourcedNumber> vector_core_950() { return kVector950; }
std::span<const SourcedNumber> vector_core_910b() { return kVector910b; }
std::span<const SourcedNumber> vector_core_nvidia() { return kVectorNvidia; }

}  // namespace npu_sim::model
