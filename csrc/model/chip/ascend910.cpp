// Ascend 910B2 and the 910C, as one die (what software sees) and as the package of two.
#include "model/chip/preset_data.h"

namespace npu_sim::model {
namespace {

constexpr double kKib = 1024;
constexpr double kMib = 1024 * kKib;
constexpr double kGib = 1024 * kMib;

constexpr SourcedNumber kAscend910b2[] = {
    {"cube_cores", 24, "hicann/pypto@883e7df platform_config ini 910B2"},
    {"vector_cores", 48, "hicann/pypto@883e7df platform_config ini 910B2"},
    {"clock_hz", 1.8e9, "hicann/pypto@883e7df platform_config ini 910B2"},
    {"cube_fp32_flop_per_s", 176.9e12, "derived: 24 cores x 16x8x16 MAC x 2 x 1.80 GHz (HF32)"},
    {"cube_fp16_flop_per_s", 353.9e12,
     "derived: 24 cores x 16x16x16 MAC x 2 x 1.80 GHz; Ascend/msmodeling@84fec85 says 353.9"},
    {"cube_fp8_flop_per_s", 0, "hicann/pypto@883e7df platform_config ini: no 8-bit float on 2201"},
    {"cube_int8_flop_per_s", 707.8e12, "derived: 24 cores x 16x32x16 MAC x 2 x 1.80 GHz"},
    {"cube_fp4_flop_per_s", 1415.6e12,
     "derived: 24 cores x 16x64x16 MAC x 2 x 1.80 GHz; int4 only, no fp4 on 2201"},
    {"cube_efficiency", 1,
     "asc-devkit A2 fp16 8192 cubed: mac 3076 us of 3023, the command's cost apart"},
    {"vector_fp32_op_per_s", 5.530e12, "derived: 48 cores x 256 B/cycle / 4 B x 1.80 GHz"},
    {"vector_fp16_op_per_s", 11.06e12,
     "derived: 48 cores x 128 fp16/cycle x 1.80 GHz; Ascend/msmodeling@84fec85 says 22 TFLOP/s of "
     "multiply-add"},
    {"special_rate", 0.25, "assumed: as on the 950 (64 of 256 B/cycle), range 0.125 to 0.5"},
    {"sort_merge_per_cycle", 1,
     "assumed: each merged element waits for the compare before it, range 0.5 to 4"},
    {"memory_bytes", 60.96 * kGib, "vllm-project/vllm-ascend#1127: torch_npu reports 60.96 GiB"},
    {"hibl_bytes_per_s", 1.6e12, "hicann/pypto@883e7df platform_config ini; other pages say 1.8"},
    {"hibl_read_efficiency", 0.875,
     "measured: asc-devkit GM to UB, 302 MB in 215.82 us = 1.40 TB/s of 1.6"},
    {"hibl_mixed_efficiency", 0.78,
     "hicann/cann-bench@d59d44c fit: element-wise kernels approach 1.23 to 1.27 TB/s of 1.6"},
    {"l2_bytes", 192 * kMib, "hicann/pypto@883e7df platform_config ini"},
    {"l2_bytes_per_s", 5.2e12, "cannmirror/asc-devkit@0da921b: L2 about 5 to 5.2 TB/s"},
    {"l2_retention", 0.88,
     "fit: element-wise kernels of hicann/cann-bench@d59d44c leave 86 to 93 MB of what they write "
     "in L2 when they read as much; range 0.85 to 0.92"},
    {"transaction_bytes", 512, "cannmirror/asc-devkit@0da921b: align to 512 B on A2 and A3"},
    {"strided_traffic_limit", 1.5, "assumed: as fitted for the 950, range 1 to 4"},
    {"ub_bytes", 192 * kKib, "hicann/pypto@883e7df platform_config ini"},
    {"l1_bytes", 512 * kKib, "hicann/pypto@883e7df platform_config ini"},
    {"launch_floor_ns", 3300, "hicann/cann-bench@d59d44c: smallest task 3320 ns; sigmoid fit 3050"},
    {"host_link_bytes_per_s", 25e9,
     "assumed: PCIe 4.0 x16 (31.5 GB/s) less protocol, range 20e9 to 28e9"},
    {"host_link_latency_ns", 3000,
     "assumed: as Ascend/msmodeling@84fec85 gives for PCIe, 1e3 to 5e3"},
    {"peer_link_bytes_per_s", 28e9,
     "Ascend/msmodeling@84fec85: full mesh of 7 links, 196 GB/s in all"},
    {"peer_link_latency_ns", 500, "Ascend/msmodeling@84fec85 HCCS"},
    {"idle_watts", 75, "assumed: 15 to 20 % of the chip's power, range 60 to 100"},
    {"tdp_watts", 400, "assumed: reports range from 310 to 400 W"},
    {"cube_fp16_pj_per_flop", 1.0,
     "assumed: a saturated fp16 matmul with idle and memory draws just under 400 W, 0.7 to 1.1"},
    {"vector_pj_per_op", 10, "assumed: as the 950, range 5 to 30"},
    {"l2_pj_per_byte", 8,
     "assumed: 1 pJ/bit; reading 64 bits of a 1 MB SRAM takes 14 pJ (1.75 pJ/B, TPUv4i paper, 7 "
     "nm, "
     "recalled), the rest is wire across the die; range 2 to 16"},
    {"hibl_pj_per_byte", 36, "assumed: 4.5 pJ/bit; HBM2 3.9 to 7 pJ/bit gives 31 to 56"},
    {"link_pj_per_byte", 40, "assumed: 5 pJ/bit for a serial link with its controller, 20 to 80"},
    {"host_eager_op_ns", 20000,
     "assumed: Gemma4 takes 98.5 ms eager and 15.0 ms as a graph (cann-recipes@fbc225d), which is "
     "17 to 40 us over 2000 to 5000 operators; range 10000 to 40000"},
    {"host_view_op_ns", 2000, "assumed: Python and dispatcher alone on a server CPU, 1000 to 5000"},
    {"host_graph_launch_ns", 30000, "assumed: one model execute call, range 10000 to 100000"},
    {"host_synchronize_ns", 10000, "assumed: wake-up of a waiting host thread, 5000 to 30000"},
    {"host_copy_call_ns", 10000, "assumed: one runtime copy call, range 5000 to 20000"},
    {"host_memory_bytes_per_s", 100e9,
     "assumed: about half of eight DDR4-2933 channels (188 GB/s), range 50e9 to 200e9"},
};

constexpr SourcedNumber kAscend910c[] = {
    {"clock_hz", 1.85e9, "hicann/pypto@883e7df platform_config ini 910_9392"},
    {"cube_fp32_flop_per_s", 188e12, "derived: half of the fp16 peak (HF32)"},
    {"cube_fp16_flop_per_s", 376e12, "CloudMatrix384 arXiv:2506.12708: 376 TFLOP/s a die"},
    {"cube_int8_flop_per_s", 752e12, "CloudMatrix384 arXiv:2506.12708: 752 TOPS a die"},
    {"cube_fp4_flop_per_s", 1504e12, "derived: twice the int8 peak; int4 only, no fp4 on 2201"},
    {"vector_fp32_op_per_s", 5.683e12, "derived: 48 cores x 256 B/cycle / 4 B x 1.85 GHz"},
    {"vector_fp16_op_per_s", 11.37e12, "derived: 48 cores x 256 B/cycle / 2 B x 1.85 GHz"},
    {"memory_bytes", 61.27 * kGib, "sgl-project/sglang#29838: torch_npu reports 61.27 GiB on A3"},
    {"host_link_bytes_per_s", 151e9, "CloudMatrix384 arXiv:2506.12708: NPU to CPU over UB"},
    {"host_link_latency_ns", 1000, "CloudMatrix384 arXiv:2506.12708: NPU to CPU 512 B in 1.0 us"},
    {"peer_link_bytes_per_s", 196e9, "CloudMatrix384 arXiv:2506.12708: UB plane a die"},
    {"peer_link_latency_ns", 1200, "CloudMatrix384 arXiv:2506.12708: NPU to NPU 512 B in 1.2 us"},
    {"idle_watts", 90, "assumed: 15 to 20 % of the die's power, range 70 to 120"},
    {"tdp_watts", 500,
     "assumed: rack power of 1.3 to 1.46 kW a package, of which hosts and network take a third; "
     "400 to 650"},
};

constexpr SourcedNumber kAscend910cPackage[] = {
    {"cube_cores", 48, "CloudMatrix384 arXiv:2506.12708: two dies"},
    {"vector_cores", 96, "CloudMatrix384 arXiv:2506.12708: two dies"},
    {"cube_fp32_flop_per_s", 376e12, "derived: half of the fp16 peak (HF32)"},
    {"cube_fp16_flop_per_s", 752e12, "CloudMatrix384 arXiv:2506.12708"},
    {"cube_int8_flop_per_s", 1504e12, "CloudMatrix384 arXiv:2506.12708"},
    {"cube_fp4_flop_per_s", 3008e12, "derived: twice the int8 peak; int4 only, no fp4 on 2201"},
    {"vector_fp32_op_per_s", 11.37e12, "derived: two dies"},
    {"vector_fp16_op_per_s", 22.73e12, "derived: two dies"},
    {"memory_bytes", 122.54 * kGib, "derived: two dies of what torch_npu reports"},
    {"hibl_bytes_per_s", 3.2e12, "CloudMatrix384 arXiv:2506.12708"},
    {"l2_bytes", 384 * kMib, "derived: two dies, each with its own L2"},
    {"l2_bytes_per_s", 10.4e12, "derived: two dies"},
    {"peer_link_bytes_per_s", 392e9, "CloudMatrix384 arXiv:2506.12708: UB plane a package"},
    {"idle_watts", 180, "derived: two dies"},
    {"tdp_watts", 1000, "derived: two dies"},
};

constexpr std::string_view kAliases910b2[] = {"910b2", "910b", "a2"};
constexpr std::string_view kAliases910c[] = {"910c", "910_9392", "a3"};
constexpr std::string_view kAliases910cPackage[] = {"910c_package"};

constexpr PresetData k910b2 = {.name = "ascend910b2",
                               .soc_name = "Ascend910B2",
                               .summary = "910B2 with 24 cube cores, 64 GB at 1.6 TB/s",
                               .aliases = kAliases910b2,
                               .numbers = kAscend910b2,
                               .dram = "hbm2e_910",
                               .cube = cube_core_910b,
                               .vector = vector_core_910b};
constexpr PresetData k910c = {.name = "ascend910c",
                              .soc_name = "Ascend910_9392",
                              .summary = "One die of a 910C, 64 GB at 1.6 TB/s",
                              .aliases = kAliases910c,
                              .numbers = kAscend910c,
                              .dram = "hbm2e_910",
                              .base = &k910b2};
constexpr PresetData k910cPackage = {.name = "ascend910c_package",
                                     .soc_name = "Ascend910C",
                                     .summary = "Both dies of a 910C as one chip, 128 GB",
                                     .aliases = kAliases910cPackage,
                                     .numbers = kAscend910cPackage,
                                     .dram = "hbm2e_910",
                                     .base = &k910c};

constexpr PresetData kPresets[] = {k910b2, k910c, k910cPackage};

}  // namespace

std::span<const PresetData> ascend910_presets() { return kPresets; }

}  // namespace npu_sim::model
