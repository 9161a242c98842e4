// NVIDIA cards to compare with. A streaming multiprocessor counts as one cube and one vector core.
#include "model/chip/preset_data.h"

namespace npu_sim::model {
namespace {

constexpr double kKib = 1024;
constexpr double kMib = 1024 * kKib;
constexpr double kGib = 1024 * kMib;

constexpr SourcedNumber kH100[] = {
    {"cube_cores", 132,
     "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml: streaming multiprocessors"},
    {"vector_cores", 132, "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml"},
    {"clock_hz", 1.755e9, "ai-dynamo/aiconfigurator@095f58a: 1.755 GHz sustained, 1.98 at most"},
    {"cube_fp32_flop_per_s", 494.5e12, "derived: half of the 16-bit peak (TF32)"},
    {"cube_fp16_flop_per_s", 989e12, "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml"},
    {"cube_fp8_flop_per_s", 1978e12, "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml"},
    {"cube_int8_flop_per_s", 1978e12, "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml"},
    {"cube_fp4_flop_per_s", 0, "assumed: Hopper multiplies no 4-bit format, certain"},
    {"cube_efficiency", 0.84,
     "ai-dynamo/aiconfigurator@095f58a: bf16 4096 cubed 789, 8192 cubed 783 of 989 TFLOP/s"},
    {"vector_fp32_op_per_s", 29.65e12,
     "assumed: 128 lanes x 132 x 1.755 GHz, lanes from the architecture's description; to 33.4e12"},
    {"vector_fp16_op_per_s", 59.3e12, "assumed: packed pairs, twice the fp32 rate, 29e12 to 67e12"},
    {"special_rate", 0.125,
     "assumed: 16 special-function results a cycle beside 128 lanes, to 0.25"},
    {"sort_merge_per_cycle", 32, "assumed: a merge split over the lanes of a warp, range 8 to 64"},
    {"memory_bytes", 80 * kGib, "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml"},
    {"hibl_bytes_per_s", 3.35e12, "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml"},
    {"hibl_read_efficiency", 0.90, "deepseek-ai/FlashMLA: 3000 of 3350 GB/s reading a KV cache"},
    {"hibl_mixed_efficiency", 0.80,
     "ai-dynamo/aiconfigurator@095f58a: 3 us + bytes / (0.8 x peak)"},
    {"l2_bytes", 50 * kMib, "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml"},
    {"l2_bytes_per_s", 5.5e12, "assumed: published microbenchmarks, range 4e12 to 7e12"},
    {"l2_retention", 0.8, "assumed: as fitted for the 950, range 0.5 to 1"},
    {"transaction_bytes", 32, "assumed: one 32-byte sector, the burst of an HBM3 pseudo-channel"},
    {"strided_traffic_limit", 1.5, "assumed: as fitted for the 950, range 1 to 4"},
    {"ub_bytes", 228 * kKib, "assumed: shared memory of one multiprocessor, range 100 to 228 KiB"},
    {"l1_bytes", 256 * kKib,
     "assumed: shared memory with L1 of one multiprocessor, 192 to 256 KiB"},
    {"launch_floor_ns", 3000, "ai-dynamo/aiconfigurator@095f58a: memory-operation constant 3 us"},
    {"host_link_bytes_per_s", 55e9, "assumed: PCIe 5.0 x16 (63 GB/s) less protocol, 45e9 to 58e9"},
    {"host_link_latency_ns", 2000, "assumed: range 1000 to 5000"},
    {"peer_link_bytes_per_s", 450e9, "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml: NVLink"},
    {"peer_link_latency_ns", 936, "astra-sim HGX-H100 validated configuration: 936.25 ns"},
    {"idle_watts", 120, "assumed: 15 to 20 % of the card's power, range 70 to 140"},
    {"tdp_watts", 700, "ai-dynamo/aiconfigurator@095f58a h100_sxm.yaml"},
    {"cube_fp16_pj_per_flop", 0.65,
     "assumed: a saturated bf16 matmul with idle and memory draws just under 700 W, 0.4 to 0.7"},
    {"vector_pj_per_op", 10, "assumed: as the 950, range 5 to 30"},
    {"l2_pj_per_byte", 8,
     "assumed: 1 pJ/bit; reading 64 bits of a 1 MB SRAM takes 14 pJ (1.75 pJ/B, TPUv4i paper, 7 "
     "nm, "
     "recalled), the rest is wire across the die; range 2 to 16"},
    {"hibl_pj_per_byte", 40, "assumed: 5 pJ/bit; HBM 3.9 to 7 pJ/bit gives 31 to 56"},
    {"link_pj_per_byte", 40, "assumed: 5 pJ/bit for a serial link with its controller, 20 to 80"},
    {"host_eager_op_ns", 6000, "assumed: PyTorch eager launch on CUDA, range 4000 to 10000"},
    {"host_view_op_ns", 1500, "assumed: Python and dispatcher alone, range 800 to 4000"},
    {"host_graph_launch_ns", 10000, "assumed: one graph launch call, range 5000 to 20000"},
    {"host_synchronize_ns", 8000, "assumed: wake-up of a waiting host thread, 4000 to 20000"},
    {"host_copy_call_ns", 6000, "assumed: one runtime copy call, range 4000 to 15000"},
    {"host_memory_bytes_per_s", 150e9,
     "assumed: about half of eight DDR5-4800 channels (307 GB/s), range 80e9 to 250e9"},
};

constexpr SourcedNumber kH800[] = {
    {"peer_link_bytes_per_s", 200e9, "ai-dynamo/aiconfigurator@095f58a: NVLink of the H800"},
};

constexpr SourcedNumber kH20[] = {
    {"cube_cores", 78, "Frontier h20.json"},
    {"vector_cores", 78, "Frontier h20.json"},
    {"cube_fp32_flop_per_s", 74e12, "derived: half of the 16-bit peak (TF32)"},
    {"cube_fp16_flop_per_s", 148e12, "Frontier h20.json"},
    {"cube_fp8_flop_per_s", 296e12, "Frontier h20.json"},
    {"cube_int8_flop_per_s", 296e12, "Frontier h20.json"},
    {"cube_efficiency", 0.90,
     "assumed: fewer cores and more bandwidth per core than the H100's 0.80, range 0.8 to 0.95"},
    {"vector_fp32_op_per_s", 17.5e12,
     "assumed: 128 lanes x 78 x 1.755 GHz, as the H100; to 19.8e12"},
    {"vector_fp16_op_per_s", 35.0e12, "assumed: packed pairs, twice the fp32 rate, 17e12 to 40e12"},
    {"memory_bytes", 96 * kGib, "Frontier h20.json"},
    {"hibl_bytes_per_s", 4.0e12, "Frontier h20.json"},
    {"l2_bytes", 60 * kMib, "Frontier h20.json"},
    {"idle_watts", 70, "assumed: 15 to 20 % of the card's power, range 50 to 80"},
    {"tdp_watts", 400, "assumed: the card's data sheet, recalled, 400 to 500"},
    {"cube_fp16_pj_per_flop", 0.9,
     "assumed: the H100's silicon with fewer cores active, more static share, range 0.6 to 1.2"},
};

constexpr SourcedNumber kA100[] = {
    {"cube_cores", 108, "assumed: the architecture's description, certain"},
    {"vector_cores", 108, "assumed: the architecture's description, certain"},
    {"clock_hz", 1.41e9, "assumed: the card's boost clock, 1.275e9 to 1.41e9"},
    {"cube_fp32_flop_per_s", 156e12, "assumed: the card's data sheet (TF32), certain"},
    {"cube_fp16_flop_per_s", 312e12, "assumed: the card's data sheet, certain"},
    {"cube_fp8_flop_per_s", 0, "assumed: Ampere multiplies no 8-bit float, certain"},
    {"cube_int8_flop_per_s", 624e12, "assumed: the card's data sheet, certain"},
    {"cube_fp4_flop_per_s", 1248e12, "assumed: the card's data sheet; int4 only, no fp4, certain"},
    {"cube_efficiency", 0.895,
     "PrincetonUniversity/LLMCompass ae/figure5: fp16 12288 squared, M 32768, 279 of 312 TFLOP/s"},
    {"vector_fp32_op_per_s", 9.75e12, "assumed: 64 lanes x 108 x 1.41 GHz, 8.8e12 to 9.75e12"},
    {"vector_fp16_op_per_s", 39.0e12, "assumed: 4 times the fp32 rate, 19e12 to 39e12"},
    {"special_rate", 0.25, "assumed: 16 special-function results a cycle beside 64 lanes, certain"},
    {"hibl_bytes_per_s", 2.039e12, "assumed: the 80 GB card's data sheet, 1.935e12 to 2.039e12"},
    {"l2_bytes", 40 * kMib, "assumed: the architecture's description, certain"},
    {"l2_bytes_per_s", 4e12, "assumed: published microbenchmarks, range 3e12 to 5e12"},
    {"ub_bytes", 164 * kKib, "assumed: shared memory of one multiprocessor, 100 to 164 KiB"},
    {"l1_bytes", 192 * kKib, "assumed: shared memory with L1 of one multiprocessor, certain"},
    {"host_link_bytes_per_s", 25e9,
     "assumed: PCIe 4.0 x16 (31.5 GB/s) less protocol, 20e9 to 28e9"},
    {"peer_link_bytes_per_s", 300e9, "assumed: NVLink 3 data sheet, one direction, certain"},
    {"idle_watts", 70, "assumed: 15 to 20 % of the card's power, range 45 to 80"},
    {"tdp_watts", 400, "assumed: the card's data sheet, certain"},
    {"cube_fp16_pj_per_flop", 0.95,
     "assumed: a saturated fp16 matmul with idle and memory draws just under 400 W, 0.6 to 1.0"},
};

constexpr std::string_view kAliasesH20[] = {"nvidia_h20"};
constexpr std::string_view kAliasesH100[] = {"nvidia_h100", "h100_sxm"};
constexpr std::string_view kAliasesH800[] = {"nvidia_h800", "h800_sxm"};
constexpr std::string_view kAliasesA100[] = {"nvidia_a100", "a100_sxm", "a100_80g"};

constexpr PresetData kH100Data = {.name = "h100",
                                  .soc_name = "NVIDIA H100 80GB HBM3",
                                  .summary = "H100 SXM, 80 GB at 3.35 TB/s",
                                  .aliases = kAliasesH100,
                                  .numbers = kH100,
                                  .dram = "hbm3_5230",
                                  .cube = cube_core_h100,
                                  .vector = vector_core_nvidia};
constexpr PresetData kH20Data = {.name = "h20",
                                 .soc_name = "NVIDIA H20",
                                 .summary = "H20, 96 GB at 4.0 TB/s",
                                 .aliases = kAliasesH20,
                                 .numbers = kH20,
                                 .dram = "hbm3_5230",
                                 .base = &kH100Data};
constexpr PresetData kH800Data = {.name = "h800",
                                  .soc_name = "NVIDIA H800",
                                  .summary = "H800 SXM: an H100 with a narrower NVLink",
                                  .aliases = kAliasesH800,
                                  .numbers = kH800,
                                  .dram = "hbm3_5230",
                                  .base = &kH100Data};
constexpr PresetData kA100Data = {.name = "a100",
                                  .soc_name = "NVIDIA A100-SXM4-80GB",
                                  .summary = "A100 SXM, 80 GB at 2.0 TB/s",
                                  .aliases = kAliasesA100,
                                  .numbers = kA100,
                                  .dram = "hbm3_5230",
                                  .cube = cube_core_a100,
                                  .base = &kH100Data};

constexpr PresetData kPresets[] = {kH20Data, kH100Data, kH800Data, kA100Data};

}  // namespace

std::span<const PresetData> nvidia_presets() { return kPresets; }

}  // namespace npu_sim::model
