// A chip as data: every number the model uses, each with its unit in its name and its source in the
// preset that sets it. The only room with hardware numbers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "model/chip/cube_core_spec.h"
#include "model/chip/fidelity.h"
#include "model/chip/l2_spec.h"
#include "model/chip/vector_core_spec.h"

namespace npu_sim::model {

// What the host side costs; a property of driver and CPU, kept with the chip it drives.
struct HostSpec {
  std::int64_t eager_op_ns = 0;      // Python + dispatcher + two-phase aclnn call, an operator
  std::int64_t view_op_ns = 0;       // an operator that launches nothing
  std::int64_t graph_launch_ns = 0;  // replay of a captured graph
  std::int64_t synchronize_ns = 0;   // host wake-up after a device wait
  std::int64_t copy_call_ns = 0;     // set-up of one host <-> device copy
  double memory_bytes_per_s = 0;     // host kernels of fallbacks
};

struct ChipSpec {
  std::string name;      // preset key: "ascend950pr"
  std::string soc_name;  // what torch.npu.get_device_name() returns: "Ascend950PR_9579"
  std::string summary;   // one line
  std::string based_on;  // preset the numbers start from; a user's chip keeps it under its own name

  std::int32_t cube_cores = 0;
  std::int32_t vector_cores = 0;
  double clock_hz = 0;

  // Dense peaks of the whole chip, by the width of the format the cube multiplies.
  double cube_fp32_flop_per_s = 0;  // HF32 / TF32 class; also what plain fp32 matmul is timed with
  double cube_fp16_flop_per_s = 0;  // fp16, bf16
  double cube_fp8_flop_per_s = 0;   // fp8, hif8, mxfp8; 0: the chip lacks it (timed as fp16)
  double cube_int8_flop_per_s = 0;  // int8, uint8
  double cube_fp4_flop_per_s = 0;   // fp4, int4; 0: the chip lacks it (timed as the next wider)
  double cube_efficiency = 1.0;     // share of the peak that a large matmul sustains
  // Element operations a second over all vector cores: full-rate instructions, 4-byte and 2-byte.
  double vector_fp32_op_per_s = 0;
  double vector_fp16_op_per_s = 0;
  double special_rate = 0.25;       // exp, div, sqrt relative to full rate
  double sort_merge_per_cycle = 1;  // elements a cycle that one vector core merges in order

  std::int64_t memory_bytes = 0;
  double hibl_bytes_per_s = 0;
  double hibl_read_efficiency = 0;   // sustained share of the peak, reads only
  double hibl_mixed_efficiency = 0;  // reads and writes mixed
  std::int64_t l2_bytes = 0;
  double l2_bytes_per_s = 0;
  std::int32_t transaction_bytes = 0;  // smallest memory transaction at full rate
  double strided_traffic_limit = 1.0;  // most bytes that move for one byte of a strided copy side
  std::int64_t ub_bytes = 0;           // one vector core's scratchpad
  std::int64_t l1_bytes = 0;           // one cube core's scratchpad

  base::SimTime launch_floor{};  // smallest task duration
  double host_link_bytes_per_s = 0;
  base::SimTime host_link_latency{};
  double peer_link_bytes_per_s = 0;
  base::SimTime peer_link_latency{};

  double idle_watts = 0;
  double tdp_watts = 0;
  double cube_fp16_pj_per_flop = 0;  // other widths scale by the model's table
  double vector_pj_per_op = 0;
  double hibl_pj_per_byte = 0;
  double link_pj_per_byte = 0;

  CubeCoreSpec cube_core;
  L2Spec l2;
  std::string_view dram;  // name of its DramSpec
  Fidelity fidelity = Fidelity::kTile;
  VectorCoreSpec vector_core;
  HostSpec host;
};

// One number of a chip for people: name, value, unit and where it comes from.
struct Parameter {
  std::string name;
  double value = 0;
  std::string unit;
  std::string source;  // citation, "measured: ..." or "assumed: reason, range"
};

// Names of all presets, in the order they are listed to users.
[[nodiscard]] const std::vector<std::string>& preset_names();

// The preset `name` (case-insensitive; aliases such as "950pr" included).
// Throws base::ValueError that lists the names when there is none.
[[nodiscard]] ChipSpec preset(std::string_view name);

// `base` with the numbers in `overrides` (parameter name -> value) replaced. Peaks that are not
// replaced themselves scale with the cores and the clock that are.
// Throws base::ValueError on an unknown name or a value out of range.
[[nodiscard]] ChipSpec with_overrides(ChipSpec base,
                                      const std::map<std::string, double>& overrides);

// Every number of `chip` with its source: its preset's while it equals that one, "scaled with ..."
// when it followed the user's cores or clock, else "set by the user".
[[nodiscard]] std::vector<Parameter> parameters(const ChipSpec& chip);

}  // namespace npu_sim::model
