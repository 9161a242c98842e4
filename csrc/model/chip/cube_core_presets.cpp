// Numbers of the cube cores. "fit" names the rows a number was fitted on and its range.
#include "model/chip/preset_data.h"

namespace npu_sim::model {
namespace {

constexpr double kKib = 1024;

constexpr SourcedNumber kCube950[] = {
    {"l0a_bytes", 64 * kKib, "hicann/pypto@883e7df platform_config ini 3510"},
    {"l0b_bytes", 64 * kKib, "hicann/pypto@883e7df platform_config ini 3510"},
    {"l0c_bytes", 256 * kKib, "hicann/pypto@883e7df platform_config ini 3510"},
    {"cube_rows", 16, "hicann/pypto@883e7df platform_config ini: 16x16x16 fp16"},
    {"cube_columns", 16, "hicann/pypto@883e7df platform_config ini: 16x16x16 fp16"},
    {"mad_cycles", 6,
     "hw-native-sys/pto-isa@3186c38 Mad: 6 cycles a command; asc-devkit 8192 cubed gives 3 to 9"},
    {"l0a_bytes_per_cycle", 256, "hicann/pypto@883e7df platform_config ini 3510"},
    {"l0b_bytes_per_cycle", 256, "hicann/pypto@883e7df platform_config ini 3510"},
    {"l0_load_cycles", 38,
     "fit: mte1 of asc-devkit fp16 8192 cubed and of pto-isa mxfp8 8192 cubed, 37 to 40"},
    {"mte2_bytes_per_cycle", 87,
     "fit: mte2 of asc-devkit fp16 8192 cubed, 85 to 88; the ini says 100, pto-isa mxfp8 reaches "
     "111"},
    {"mte2_unaligned_bytes_per_cycle", 38,
     "fit: hicann/cann-bench@d59d44c grouped_matmul with rows of 1023 and 2047 elements, 30 to 45"},
    {"mte2_scale_rate", 0.25,
     "fit: mte2 of asc-devkit mxfp4 8192 cubed, whose scales move in short rows; 0.2 to 0.3"},
    {"fixpipe_elements_per_cycle", 40,
     "fit: fixpipe of asc-devkit fp16 C4, C5 and of pto-isa mxfp8, 38 to 42"},
    {"fixpipe_bytes_per_cycle", 160, "assumed: as the elements for fp32 results, 100 to 160"},
    {"fixpipe_cycles", 84,
     "fit: tiles of 128x128 (pto-isa mxfp8) and 256x256 (asc-devkit), 40 to "
     "130"},
    {"unit_flag_mads", 9.3,
     "fit: fixpipe of asc-devkit fp16 8192 cubed with unit flag, 9.0 to 9.5 commands"},
    {"l2_fetch_sharing", 1, "hicann/pypto@883e7df: no multicast among cube cores, certain"},
    {"splits_tail", 1,
     "fit: hicann/cann-bench@d59d44c int8 4096 cubed, 256 tiles on 28 cores in 9.2 tile times"},
    {"splits_grid", 0, "assumed: tiles in order with the last wave split, certain"},
    {"narrow_efficiency", 1, "fit: asc-devkit mxfp4 8192 cubed, mac 640 us of 636"},
    {"cube_start_ns", 1500,
     "fit: hicann/cann-bench@d59d44c smallest grouped matmuls, 1300 to 1700"},
    {"mix_start_ns", 1500,
     "fit: hicann/cann-bench@d59d44c weight_quant_batch_matmul; catlass says 1 to 5 us"},
    {"mask_start_ns", 4000,
     "fit: hicann/cann-bench@d59d44c small causal beside small full attention, 3000 to 8000"},
    {"first_fill_ns", 1000, "fit: hicann/cann-bench@d59d44c quant_matmul, 700 to 1500"},
    {"group_sync_ns", 1000, "assumed: one barrier over all cores, 500 to 2000"},
    {"stage_sync_ns", 400,
     "fit: hicann/cann-bench@d59d44c attention of one block a core, 300 to 700"},
    {"exchange_bytes_per_cycle", 128, "hicann/pypto@883e7df ini: UB to L2 128"},
    {"exchanges_directly", 1, "hicann/pypto@883e7df ini: L0C to UB and UB to L1, certain"},
    {"stage_exposure", 1,
     "fit: hicann/cann-bench@d59d44c mha of 256 and mla of 512 wide heads, 0.9 to 1"},
    {"block_latency_ns", 0,
     "fit: hicann/cann-bench@d59d44c gqa and mha of 128 wide heads, 0 to 50"},
    {"pass_restart", 0, "fit: hicann/cann-bench@d59d44c mha and gqa prefill, 0 to 0.2"},
    {"fetch_cycles", 40,
     "derived: asc-devkit GM to UB in 128 B descriptors, 24 ns each on every vector core"},
    {"packs_query_rows", 0,
     "fit: hicann/cann-bench@d59d44c gqa with 4 queries reads its keys once a query head"},
};

constexpr SourcedNumber kCube910b[] = {
    {"l0a_bytes", 64 * kKib, "hicann/pypto@883e7df platform_config ini 2201"},
    {"l0b_bytes", 64 * kKib, "hicann/pypto@883e7df platform_config ini 2201"},
    {"l0c_bytes", 128 * kKib, "hicann/pypto@883e7df platform_config ini 2201"},
    {"cube_rows", 16, "hicann/pypto@883e7df platform_config ini: 16x16x16 fp16"},
    {"cube_columns", 16, "hicann/pypto@883e7df platform_config ini: 16x16x16 fp16"},
    {"mad_cycles", 8,
     "fit: mac of asc-devkit A2 fp16 8192 cubed gives 9, pto-isa's Mad says 6; 6 to 10"},
    {"l0a_bytes_per_cycle", 256,
     "hw-native-sys/pto-isa@3186c38: L1 to L0A 441 GiB/s at 1.85 GHz; the ini says 512"},
    {"l0b_bytes_per_cycle", 128,
     "hw-native-sys/pto-isa@3186c38: L1 to L0B 220.5 GiB/s at 1.85 GHz; the ini says 256"},
    {"l0_load_cycles", 48,
     "fit: mte1 of asc-devkit A2 fp16 8192 cubed and pto-isa A3 3072 and 6144 cubed, 45 to 55"},
    {"mte2_bytes_per_cycle", 83,
     "fit: mte2 of asc-devkit A2 8192 cubed and pto-isa A3 3072 and 6144 cubed, 81 to 85; pto-isa "
     "says 135 GiB/s"},
    {"mte2_unaligned_bytes_per_cycle", 15.6,
     "measured: asc-devkit A2 GM to L1 of rows of 12287 elements, 302 MB in 438.76 us"},
    {"mte2_scale_rate", 0.25, "assumed: as fitted for the 950; the 910 has no block scales"},
    {"fixpipe_elements_per_cycle", 64, "assumed: the ini's 256 B/cycle of fp32, 32 to 64"},
    {"fixpipe_bytes_per_cycle", 72,
     "fit: fixpipe of asc-devkit A2 C4, C5 and pto-isa A3, 68 to 74; pto-isa says 70 GiB/s"},
    {"fixpipe_cycles", 84, "assumed: as fitted for the 950, 40 to 130"},
    {"unit_flag_mads", 4.3,
     "fit: fixpipe of asc-devkit A2 8192 cubed, 4.3 to 4.9 in basic API, 9.5 in the high-level "
     "one"},
    {"l2_fetch_sharing", 1, "hicann/pypto@883e7df: no multicast among cube cores, certain"},
    {"splits_tail", 0, "assumed: whole tiles to a grid of cores, certain"},
    {"splits_grid", 1,
     "cannmirror/asc-devkit@0da921b matmul_high_performance: 4 x 6 cores; fits cann-bench's fp16 "
     "4096 and 8192 cubed within 3 %"},
    {"narrow_efficiency", 1, "assumed: as the 16-bit formats, 0.8 to 1"},
    {"cube_start_ns", 2500,
     "fit: hicann/cann-bench@d59d44c smallest grouped matmuls, 1500 to 4000"},
    {"mix_start_ns", 3000, "catlass: vector cores start 1 to 5 us after the cube"},
    {"mask_start_ns", 4000, "assumed: as fitted for the 950, 0 to 8000"},
    {"first_fill_ns", 2000, "fit: hicann/cann-bench@d59d44c small matmuls, 1000 to 3000"},
    {"group_sync_ns", 2000, "assumed: one barrier over all cores, 1000 to 4000"},
    {"stage_sync_ns", 400, "assumed: as fitted for the 950, 200 to 1000"},
    {"exchange_bytes_per_cycle", 90,
     "fit: hicann/cann-bench@d59d44c mla, 80 to 100; pto-isa@3186c38 gives 58 in and 109 out"},
    {"exchanges_directly", 0, "hicann/pypto@883e7df: L0C leaves to L2 only on 2201, certain"},
    {"stage_exposure", 1, "assumed: as fitted for the 950; fits mla of 512 wide heads, 0.8 to 1"},
    {"block_latency_ns", 770,
     "fit: hicann/cann-bench@d59d44c gqa decode and pto-isa long prefill, 700 to 860; measured: "
     "860 "
     "in paged attention on A3 (simpler docs)"},
    {"pass_restart", 1,
     "fit: hicann/cann-bench@d59d44c mha and gqa of few blocks a pass, 0.8 to 1"},
    {"fetch_cycles", 21,
     "derived: asc-devkit A2 GM to UB in 128 B descriptors, 11.5 ns each on every vector core"},
    {"packs_query_rows", 1,
     "fit: hicann/cann-bench@d59d44c gqa with 4 queries reads its keys once"},
};

constexpr SourcedNumber kCubeH100[] = {
    {"l0a_bytes", 114 * kKib, "assumed: operands stay in shared memory, half of 228 KiB"},
    {"l0b_bytes", 114 * kKib, "assumed: operands stay in shared memory, half of 228 KiB"},
    {"l0c_bytes", 128 * kKib, "assumed: half of the 256 KiB of registers hold sums, certain"},
    {"cube_rows", 64, "assumed: one warp group multiplies 64 rows, certain"},
    {"cube_columns", 8, "assumed: one warp group multiplies multiples of 8 columns, certain"},
    {"mad_cycles", 0, "assumed: commands of one warp group follow one another, 0 to 30"},
    {"l0a_bytes_per_cycle", 1e4, "assumed: operands are read in place, no separate move"},
    {"l0b_bytes_per_cycle", 1e4, "assumed: operands are read in place, no separate move"},
    {"l0_load_cycles", 0, "assumed: operands are read in place, no separate move"},
    {"mte2_bytes_per_cycle", 64, "assumed: 64 B a cycle from L2 to a multiprocessor, 32 to 64"},
    {"mte2_unaligned_bytes_per_cycle", 32, "assumed: half the aligned rate, 16 to 64"},
    {"mte2_scale_rate", 1, "assumed: scales move as data"},
    {"fixpipe_elements_per_cycle", 1e4, "assumed: results leave registers as L2 traffic"},
    {"fixpipe_bytes_per_cycle", 1e4, "assumed: results leave registers as L2 traffic"},
    {"fixpipe_cycles", 0, "assumed: results leave registers as L2 traffic"},
    {"unit_flag_mads", 0, "assumed: no such counter, certain"},
    {"l2_fetch_sharing", 2, "assumed: clusters of two share tiles by multicast, 1 to 2"},
    {"splits_tail", 0, "assumed: whole tiles in order, certain"},
    {"splits_grid", 0, "assumed: whole tiles in order, certain"},
    {"narrow_efficiency", 0.58,
     "fit: ai-dynamo/aiconfigurator@095f58a fp8 8192 cubed and deepseek-ai/DeepGEMM, 0.54 to 0.72"},
    {"cube_start_ns", 0, "assumed: no separate start"},
    {"mix_start_ns", 4000,
     "fit: ai-dynamo/aiconfigurator@095f58a smallest decode and prefill attention, 3000 to 7000"},
    {"mask_start_ns", 0, "assumed: the triangle needs no mask, certain"},
    {"first_fill_ns", 1300,
     "fit: ai-dynamo/aiconfigurator@095f58a bf16 with 1 and 16 rows, 1000 to 2000"},
    {"group_sync_ns", 1500, "assumed: one more small kernel or a grid barrier, 1000 to 3000"},
    {"stage_sync_ns", 50, "assumed: a barrier of two warp groups, 20 to 100"},
    {"exchange_bytes_per_cycle", 128, "assumed: shared memory, 128 B a cycle"},
    {"exchanges_directly", 1, "assumed: scores stay in registers, certain"},
    {"stage_exposure", 0.5,
     "fit: ai-dynamo/aiconfigurator@095f58a causal prefill and MLA, 0.35 to 0.7"},
    {"block_latency_ns", 0, "fit: as stage_exposure, 0 to 50"},
    {"pass_restart", 0, "assumed: the next tile's first block is asked for ahead, certain"},
    {"fetch_cycles", 4, "assumed: one descriptor of many rows, 1 to 10"},
    {"packs_query_rows", 1, "assumed: query heads of one KV head share a tile, certain"},
};

constexpr SourcedNumber kCubeA100[] = {
    {"l0a_bytes", 82 * kKib, "assumed: operands stay in shared memory, half of 164 KiB"},
    {"l0b_bytes", 82 * kKib, "assumed: operands stay in shared memory, half of 164 KiB"},
    {"cube_rows", 16, "assumed: one warp multiplies 16 rows, certain"},
    {"narrow_efficiency", 0.8, "assumed: between the 16-bit share and the H100's, 0.63 to 0.895"},
    {"l2_fetch_sharing", 1, "assumed: no clusters, certain"},
};

}  // namespace

std::span<const SourcedNumber> cube_core_950() { return kCube950; }
std::span<const SourcedNumber> cube_core_910b() { return kCube910b; }
std::span<const SourcedNumber> cube_core_h100() { return kCubeH100; }
std::span<const SourcedNumber> cube_core_a100() { return kCubeA100; }

}  // namespace npu_sim::model
