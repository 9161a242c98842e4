// Ascend 950: 950PR in its two bins and 950DT.
#include "model/chip/preset_data.h"

namespace npu_sim::model {
namespace {

constexpr double kKib = 1024;
constexpr double kMib = 1024 * kKib;
constexpr double kGib = 1024 * kMib;

// 28 cube cores, 112 GB, 1.4 TB/s: the card called Atlas 350.
constexpr SourcedNumber kAscend950pr[] = {
    {"cube_cores", 28, "hicann/pypto@883e7df platform_config ini 950PR_957x"},
    {"vector_cores", 56, "hicann/pypto@883e7df platform_config ini 950PR_957x"},
    {"clock_hz", 1.65e9, "hicann/pypto@883e7df platform_config ini"},
    {"cube_fp32_flop_per_s", 189.2e12,
     "derived: 28 cores x 16x8x16 MAC x 2 x 1.65 GHz (HF32); Ascend/msmodeling@84fec85 says 189"},
    {"cube_fp16_flop_per_s", 378.5e12,
     "derived: 28 cores x 16x16x16 MAC x 2 x 1.65 GHz; Ascend/msmodeling@84fec85 says 378"},
    {"cube_fp8_flop_per_s", 757.0e12, "derived: 28 cores x 16x32x16 MAC x 2 x 1.65 GHz"},
    {"cube_int8_flop_per_s", 757.0e12, "derived: 28 cores x 16x32x16 MAC x 2 x 1.65 GHz"},
    {"cube_fp4_flop_per_s", 1514e12,
     "derived: 28 cores x 16x64x16 MAC x 2 x 1.65 GHz; the launch claims 1560"},
    {"cube_efficiency", 1,
     "asc-devkit fp16 8192 cubed on 32 cores: mac 2550 us of 2542, the command's cost apart"},
    {"vector_fp32_op_per_s", 5.914e12,
     "derived: 56 cores x 256 B/cycle (cannmirror/asc-devkit@0da921b) / 4 B x 1.65 GHz, one issue"},
    {"vector_fp16_op_per_s", 11.83e12,
     "derived: 56 cores x 256 B/cycle (cannmirror/asc-devkit@0da921b) / 2 B x 1.65 GHz, one issue"},
    {"special_rate", 0.25, "cannmirror/asc-devkit@0da921b: exp and div 64 B/cycle of 256 B/cycle"},
    {"sort_merge_per_cycle", 1,
     "assumed: each merged element waits for the compare before it, range 0.5 to 4"},
    {"memory_bytes", 112 * kGib,
     "assumed: 112 GB counted in binary units as DRAM is; the driver's own share, about 5 % on "
     "910B2, is not known for the 950 and not taken off; range 106.7 to 112 GiB"},
    {"hibl_bytes_per_s", 1.4e12, "Ascend/msmodeling@84fec85 ATLAS_350_425T"},
    {"hibl_read_efficiency", 0.96,
     "hicann/cann-bench@d59d44c fit: pure reads sustain 1.34 TB/s of 1.4"},
    {"hibl_mixed_efficiency", 0.896,
     "hicann/cann-bench@d59d44c fit: element-wise kernels approach 1.255 TB/s of 1.4"},
    {"l2_bytes", 128 * kMib, "hicann/pypto@883e7df platform_config ini"},
    {"l2_bytes_per_s", 5.2e12, "cannmirror/asc-devkit@0da921b: L2 about 5 to 5.2 TB/s"},
    {"l2_retention", 0.78,
     "fit: element-wise kernels of hicann/cann-bench@d59d44c leave 51 to 54 MB of what they write "
     "in L2 when they read as much; range 0.75 to 0.81"},
    {"transaction_bytes", 128, "cannmirror/asc-devkit@0da921b: align to 128 B on 950"},
    {"strided_traffic_limit", 1.5,
     "hicann/cann-bench@d59d44c fit: seven level3/transpose rows; 2.86 would be the asc-devkit "
     "SIMT "
     "transpose, 12.074 us where a dense copy takes 6.262 us; range 1 to 2.86"},
    {"ub_bytes", 253952, "hicann/pypto@883e7df platform_config ini (usable part of 256 KiB)"},
    {"l1_bytes", 512 * kKib, "hicann/pypto@883e7df platform_config ini"},
    {"launch_floor_ns", 2400, "hicann/cann-bench@d59d44c fit of gelu and sigmoid; smallest 2300"},
    {"host_link_bytes_per_s", 32e9, "Ascend/msmodeling@84fec85 ATLAS_350_425T PCIe"},
    {"host_link_latency_ns", 3000, "Ascend/msmodeling@84fec85 ATLAS_350_425T PCIe"},
    {"peer_link_bytes_per_s", 56e9, "hicann/hccl@09300b7 cost_model.cc: one UB port of 112G lanes"},
    {"peer_link_latency_ns", 1500, "Ascend/msmodeling@84fec85 ATLAS_350_425T UB"},
    {"idle_watts", 100, "assumed: 15 to 20 % of the card's power, range 60 to 120"},
    {"tdp_watts", 600, "press coverage of the Atlas 350 launch"},
    {"cube_fp16_pj_per_flop", 1.2,
     "assumed: a saturated fp16 matmul with idle and memory draws just under 600 W, range 0.7 to "
     "1.3"},
    {"vector_pj_per_op", 10,
     "assumed: fp32 multiply 1.3 pJ plus three 4-byte scratchpad accesses near 1 pJ/B and control, "
     "range 5 to 30"},
    {"l2_pj_per_byte", 8,
     "assumed: 1 pJ/bit; reading 64 bits of a 1 MB SRAM takes 14 pJ (1.75 pJ/B, TPUv4i paper, 7 "
     "nm, "
     "recalled), the rest is wire across the die; range 2 to 16"},
    {"hibl_pj_per_byte", 40, "assumed: 5 pJ/bit; HBM2 3.9 to 7 pJ/bit gives 31 to 56"},
    {"link_pj_per_byte", 40, "assumed: 5 pJ/bit for a serial link with its controller, 20 to 80"},
    {"host_eager_op_ns", 20000,
     "assumed: Gemma4 on A2 takes 98.5 ms eager and 15.0 ms as a graph (cann-recipes@fbc225d), "
     "which is 17 to 40 us over 2000 to 5000 operators; range 10000 to 40000"},
    {"host_view_op_ns", 2000, "assumed: Python and dispatcher alone on a server CPU, 1000 to 5000"},
    {"host_graph_launch_ns", 30000, "assumed: one model execute call, range 10000 to 100000"},
    {"host_synchronize_ns", 10000, "assumed: wake-up of a waiting host thread, 5000 to 30000"},
    {"host_copy_call_ns", 10000, "assumed: one runtime copy call, range 5000 to 20000"},
    {"host_memory_bytes_per_s", 100e9,
     "assumed: about half of eight DDR4-2933 channels (188 GB/s), range 50e9 to 200e9"},
};

// 32 cube cores, 128 GB, 1.6 TB/s.
constexpr SourcedNumber kAscend950pr128g[] = {
    {"cube_cores", 32, "hicann/pypto@883e7df platform_config ini 950PR_958x"},
    {"vector_cores", 64, "hicann/pypto@883e7df platform_config ini 950PR_958x"},
    {"cube_fp32_flop_per_s", 216.3e12, "derived: 32 cores x 16x8x16 MAC x 2 x 1.65 GHz (HF32)"},
    {"cube_fp16_flop_per_s", 432.5e12, "derived: 32 cores x 16x16x16 MAC x 2 x 1.65 GHz"},
    {"cube_fp8_flop_per_s", 865.1e12, "derived: 32 cores x 16x32x16 MAC x 2 x 1.65 GHz"},
    {"cube_int8_flop_per_s", 865.1e12, "derived: 32 cores x 16x32x16 MAC x 2 x 1.65 GHz"},
    {"cube_fp4_flop_per_s", 1730e12, "derived: 32 cores x 16x64x16 MAC x 2 x 1.65 GHz"},
    {"vector_fp32_op_per_s", 6.758e12, "derived: 64 cores x 256 B/cycle / 4 B x 1.65 GHz"},
    {"vector_fp16_op_per_s", 13.52e12, "derived: 64 cores x 256 B/cycle / 2 B x 1.65 GHz"},
    {"memory_bytes", 128 * kGib,
     "assumed: 128 GB counted in binary units, driver's share not taken off; 121.9 to 128 GiB"},
    {"hibl_bytes_per_s", 1.6e12, "cannmirror/asc-devkit@0da921b: 950PR 1.6 TB/s"},
    {"tdp_watts", 690, "assumed: 600 W of the 28-core card scaled by its cores, range 600 to 750"},
};

// 32 cube cores with HiZQ 2.0 memory; the training part.
constexpr SourcedNumber kAscend950dt[] = {
    {"memory_bytes", 144 * kGib,
     "assumed: Huawei Connect 2025's 144 GB counted in binary units; the 96 GB part is another "
     "bin"},
    {"hibl_bytes_per_s", 4e12, "Huawei Connect 2025: HiZQ 2.0, 4 TB/s"},
    {"tdp_watts", 750, "assumed: the 32-core 950PR plus 2.4 TB/s more at 40 pJ/B, 650 to 900"},
};

constexpr std::string_view kAliases950pr[] = {"950pr",      "950",      "ascend950",
                                              "950pr_957x", "atlas350", "atlas_350"};
constexpr std::string_view kAliases950pr128g[] = {"950pr_128g", "950pr_958x"};
constexpr std::string_view kAliases950dt[] = {"950dt", "950dt_958x"};

constexpr PresetData kPr = {.name = "ascend950pr",
                            .soc_name = "Ascend950PR_9579",
                            .summary = "950PR card with 28 cube cores, 112 GB at 1.4 TB/s",
                            .aliases = kAliases950pr,
                            .numbers = kAscend950pr,
                            .dram = "hibl_1_0",
                            .cube = cube_core_950,
                            .vector = vector_core_950};
constexpr PresetData kPr128g = {.name = "ascend950pr_128g",
                                .soc_name = "Ascend950PR_9589",
                                .summary = "950PR with 32 cube cores, 128 GB at 1.6 TB/s",
                                .aliases = kAliases950pr128g,
                                .numbers = kAscend950pr128g,
                                .dram = "hibl_1_0",
                                .base = &kPr};
constexpr PresetData kDt = {.name = "ascend950dt",
                            .soc_name = "Ascend950DT_9581",
                            .summary = "950DT with 32 cube cores, 144 GB at 4 TB/s",
                            .aliases = kAliases950dt,
                            .numbers = kAscend950dt,
                            .dram = "hibl_1_0",
                            .base = &kPr128g};

constexpr PresetData kPresets[] = {kPr, kPr128g, kDt};

}  // namespace

std::span<const PresetData> ascend950_presets() { return kPresets; }

}  // namespace npu_sim::model
