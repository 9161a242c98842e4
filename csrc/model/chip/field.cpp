#include "model/chip/field.h"

#include <cmath>
#include <type_traits>

namespace npu_sim::model {
namespace {

// Ranges keep arithmetic finite (no zero rate, no negative time); they do not judge plausibility.
constexpr double kLargestRate = 1e21;
constexpr double kLargestBytes = 1e15;
constexpr double kLargestNs = 1e9;
constexpr double kLargestWatts = 1e5;
constexpr double kLargestPj = 1e6;

constexpr Field kFields[] = {
    {"cube_cores", "cores", 1, 1e5, &ChipSpec::cube_cores},
    {"vector_cores", "cores", 1, 1e5, &ChipSpec::vector_cores},
    {"clock_hz", "Hz", 1e6, 1e11, &ChipSpec::clock_hz},
    {"cube_fp32_flop_per_s", "FLOP/s", 1e6, kLargestRate, &ChipSpec::cube_fp32_flop_per_s,
     Scales::kWithCubes},
    {"cube_fp16_flop_per_s", "FLOP/s", 1e6, kLargestRate, &ChipSpec::cube_fp16_flop_per_s,
     Scales::kWithCubes},
    {"cube_fp8_flop_per_s", "FLOP/s", 0, kLargestRate, &ChipSpec::cube_fp8_flop_per_s,
     Scales::kWithCubes},
    {"cube_int8_flop_per_s", "OP/s", 0, kLargestRate, &ChipSpec::cube_int8_flop_per_s,
     Scales::kWithCubes},
    {"cube_fp4_flop_per_s", "FLOP/s", 0, kLargestRate, &ChipSpec::cube_fp4_flop_per_s,
     Scales::kWithCubes},
    {"cube_efficiency", "share", 0.01, 1, &ChipSpec::cube_efficiency},
    {"vector_fp32_op_per_s", "op/s", 1e6, kLargestRate, &ChipSpec::vector_fp32_op_per_s,
     Scales::kWithVectors},
    {"vector_fp16_op_per_s", "op/s", 1e6, kLargestRate, &ChipSpec::vector_fp16_op_per_s,
     Scales::kWithVectors},
    {"special_rate", "share", 0.001, 1, &ChipSpec::special_rate},
    {"sort_merge_per_cycle", "1/cycle", 0.001, 1e6, &ChipSpec::sort_merge_per_cycle},
    {"memory_bytes", "B", 1 << 20, kLargestBytes, &ChipSpec::memory_bytes},
    {"hibl_bytes_per_s", "B/s", 1e6, kLargestRate, &ChipSpec::hibl_bytes_per_s},
    {"hibl_read_efficiency", "share", 0.01, 1, &ChipSpec::hibl_read_efficiency},
    {"hibl_mixed_efficiency", "share", 0.01, 1, &ChipSpec::hibl_mixed_efficiency},
    {"l2_bytes", "B", 0, kLargestBytes, &ChipSpec::l2_bytes},
    {"l2_bytes_per_s", "B/s", 1e6, kLargestRate, &ChipSpec::l2_bytes_per_s},
    {"l2_retention", "share", 0.01, 1, &L2Spec::retention},
    {"transaction_bytes", "B", 1, 1 << 20, &ChipSpec::transaction_bytes},
    {"strided_traffic_limit", "factor", 1, 1e6, &ChipSpec::strided_traffic_limit},
    {"ub_bytes", "B", 1, kLargestBytes, &ChipSpec::ub_bytes},
    {"l1_bytes", "B", 1, kLargestBytes, &ChipSpec::l1_bytes},
    {"l0a_bytes", "B", 1, kLargestBytes, &CubeCoreSpec::l0a_bytes},
    {"l0b_bytes", "B", 1, kLargestBytes, &CubeCoreSpec::l0b_bytes},
    {"l0c_bytes", "B", 1, kLargestBytes, &CubeCoreSpec::l0c_bytes},
    {"cube_rows", "elements", 1, 4096, &CubeCoreSpec::rows},
    {"cube_columns", "elements", 1, 4096, &CubeCoreSpec::columns},
    {"narrow_efficiency", "share", 0.01, 1, &CubeCoreSpec::narrow_efficiency},
    {"mad_cycles", "cycles", 0, 1e6, &CubeCoreSpec::mad_cycles},
    {"l0a_bytes_per_cycle", "B/cycle", 0.01, 1e9, &CubeCoreSpec::l0a_bytes_per_cycle},
    {"l0b_bytes_per_cycle", "B/cycle", 0.01, 1e9, &CubeCoreSpec::l0b_bytes_per_cycle},
    {"l0_load_cycles", "cycles", 0, 1e6, &CubeCoreSpec::load_cycles},
    {"mte2_bytes_per_cycle", "B/cycle", 0.01, 1e9, &CubeCoreSpec::mte2_bytes_per_cycle},
    {"mte2_unaligned_bytes_per_cycle", "B/cycle", 0.01, 1e9,
     &CubeCoreSpec::mte2_unaligned_bytes_per_cycle},
    {"mte2_scale_rate", "share", 0.001, 1, &CubeCoreSpec::scale_rate},
    {"fixpipe_elements_per_cycle", "1/cycle", 0.01, 1e9, &CubeCoreSpec::fixpipe_elements_per_cycle},
    {"fixpipe_bytes_per_cycle", "B/cycle", 0.01, 1e9, &CubeCoreSpec::fixpipe_bytes_per_cycle},
    {"fixpipe_cycles", "cycles", 0, 1e6, &CubeCoreSpec::fixpipe_cycles},
    {"unit_flag_mads", "commands", 0, 1e6, &CubeCoreSpec::unit_flag_mads},
    {"l2_fetch_sharing", "cores", 1, 1e3, &CubeCoreSpec::fetch_sharing},
    {"splits_tail", "0 or 1", 0, 1, &CubeCoreSpec::splits_tail},
    {"splits_grid", "0 or 1", 0, 1, &CubeCoreSpec::splits_grid},
    {"cube_start_ns", "ns", 0, kLargestNs, &CubeCoreSpec::cube_start_ns},
    {"mix_start_ns", "ns", 0, kLargestNs, &CubeCoreSpec::mix_start_ns},
    {"mask_start_ns", "ns", 0, kLargestNs, &CubeCoreSpec::mask_start_ns},
    {"first_fill_ns", "ns", 0, kLargestNs, &CubeCoreSpec::first_fill_ns},
    {"group_sync_ns", "ns", 0, kLargestNs, &CubeCoreSpec::group_sync_ns},
    {"stage_sync_ns", "ns", 0, kLargestNs, &CubeCoreSpec::stage_sync_ns},
    {"exchange_bytes_per_cycle", "B/cycle", 0.01, 1e9, &CubeCoreSpec::exchange_bytes_per_cycle},
    {"exchanges_directly", "0 or 1", 0, 1, &CubeCoreSpec::exchanges_directly},
    {"stage_exposure", "share", 0, 1, &CubeCoreSpec::stage_exposure},
    {"block_latency_ns", "ns", 0, kLargestNs, &CubeCoreSpec::block_latency_ns},
    {"pass_restart", "share", 0, 1, &CubeCoreSpec::pass_restart},
    {"fetch_cycles", "cycles", 0, 1e6, &CubeCoreSpec::fetch_cycles},
    {"packs_query_rows", "0 or 1", 0, 1, &CubeCoreSpec::packs_query_rows},
    {"vector_issue_per_cycle", "1/cycle", 0.01, 1e3, &VectorCoreSpec::issue_per_cycle},
    {"vector_reduce_cycles", "cycles", 0, 1e6, &VectorCoreSpec::reduce_cycles},
    {"vector_reduce_latency_cycles", "cycles", 0, 1e6, &VectorCoreSpec::reduce_latency_cycles},
    {"vector_odd_row_cycles", "cycles", 0, 1e6, &VectorCoreSpec::odd_row_cycles},
    {"vector_gather_cycles", "cycles", 0, 1e6, &VectorCoreSpec::gather_cycles},
    {"vector_data_cache_bytes", "B", 0, kLargestBytes, &VectorCoreSpec::data_cache_bytes},
    {"vector_read_bytes_per_s", "B/s", 1e3, kLargestRate, &VectorCoreSpec::read_bytes_per_s},
    {"vector_shared_read_bytes_per_s", "B/s", 1e3, kLargestRate,
     &VectorCoreSpec::shared_read_bytes_per_s},
    {"vector_write_bytes_per_s", "B/s", 1e3, kLargestRate, &VectorCoreSpec::write_bytes_per_s},
    {"vector_tile_bytes", "B", 1, kLargestBytes, &VectorCoreSpec::tile_bytes},
    {"vector_least_bytes", "B", 1, kLargestBytes, &VectorCoreSpec::least_bytes},
    {"vector_descriptor_ns", "ns", 0, kLargestNs, &VectorCoreSpec::descriptor_ns},
    {"vector_piece_ns", "ns", 0, kLargestNs, &VectorCoreSpec::piece_ns},
    {"vector_odd_piece_ns", "ns", 0, kLargestNs, &VectorCoreSpec::odd_piece_ns},
    {"vector_dependent_item_ns", "ns", 0, kLargestNs, &VectorCoreSpec::dependent_item_ns},
    {"vector_scalar_read_ns", "ns", 0, kLargestNs, &VectorCoreSpec::scalar_read_ns},
    {"vector_fill_ns", "ns", 0, kLargestNs, &VectorCoreSpec::fill_ns},
    {"vector_row_start_ns", "ns", 0, kLargestNs, &VectorCoreSpec::row_start_ns},
    {"vector_gather_start_ns", "ns", 0, kLargestNs, &VectorCoreSpec::gather_start_ns},
    {"vector_barrier_ns", "ns", 0, kLargestNs, &VectorCoreSpec::barrier_ns},
    {"vector_unaligned_rate", "share", 0.01, 1, &VectorCoreSpec::unaligned_rate},
    {"vector_nz_bytes_per_s", "B/s", 1e3, kLargestRate, &VectorCoreSpec::nz_bytes_per_s},
    {"vector_nz_piece_ns", "ns", 0, kLargestNs, &VectorCoreSpec::nz_piece_ns},
    {"vector_nz_unaligned_rate", "share", 0.01, 1, &VectorCoreSpec::nz_unaligned_rate},
    {"launch_floor_ns", "ns", 0, kLargestNs, &ChipSpec::launch_floor},
    {"host_link_bytes_per_s", "B/s", 1e3, kLargestRate, &ChipSpec::host_link_bytes_per_s},
    {"host_link_latency_ns", "ns", 0, kLargestNs, &ChipSpec::host_link_latency},
    {"peer_link_bytes_per_s", "B/s", 1e3, kLargestRate, &ChipSpec::peer_link_bytes_per_s},
    {"peer_link_latency_ns", "ns", 0, kLargestNs, &ChipSpec::peer_link_latency},
    {"idle_watts", "W", 0, kLargestWatts, &ChipSpec::idle_watts},
    {"tdp_watts", "W", 1, kLargestWatts, &ChipSpec::tdp_watts},
    {"cube_fp16_pj_per_flop", "pJ/FLOP", 0, kLargestPj, &ChipSpec::cube_fp16_pj_per_flop},
    {"vector_pj_per_op", "pJ/op", 0, kLargestPj, &ChipSpec::vector_pj_per_op},
    {"l2_pj_per_byte", "pJ/B", 0, kLargestPj, &L2Spec::pj_per_byte},
    {"hibl_pj_per_byte", "pJ/B", 0, kLargestPj, &ChipSpec::hibl_pj_per_byte},
    {"link_pj_per_byte", "pJ/B", 0, kLargestPj, &ChipSpec::link_pj_per_byte},
    {"host_eager_op_ns", "ns", 0, kLargestNs, &HostSpec::eager_op_ns},
    {"host_view_op_ns", "ns", 0, kLargestNs, &HostSpec::view_op_ns},
    {"host_graph_launch_ns", "ns", 0, kLargestNs, &HostSpec::graph_launch_ns},
    {"host_synchronize_ns", "ns", 0, kLargestNs, &HostSpec::synchronize_ns},
    {"host_copy_call_ns", "ns", 0, kLargestNs, &HostSpec::copy_call_ns},
    {"host_memory_bytes_per_s", "B/s", 1e3, kLargestRate, &HostSpec::memory_bytes_per_s},
};

constexpr std::int64_t kPsPerNs = 1000;

// The object a member pointer of `Owner` points into.
template <class Owner, class Chip>
auto& owner_in(Chip& chip) {
  if constexpr (std::is_same_v<Owner, HostSpec>) {
    return chip.host;
  } else if constexpr (std::is_same_v<Owner, L2Spec>) {
    return chip.l2;
  } else if constexpr (std::is_same_v<Owner, CubeCoreSpec>) {
    return chip.cube_core;
  } else if constexpr (std::is_same_v<Owner, VectorCoreSpec>) {
    return chip.vector_core;
  } else {
    return chip;
  }
}

template <class Value>
double to_number(Value value) {
  if constexpr (std::is_same_v<Value, base::SimTime>) {
    return static_cast<double>(value.count()) / static_cast<double>(kPsPerNs);
  } else {
    return static_cast<double>(value);
  }
}

template <class Value>
Value from_number(double number) {
  if constexpr (std::is_same_v<Value, base::SimTime>) {
    return base::SimTime(std::llround(number * static_cast<double>(kPsPerNs)));
  } else if constexpr (std::is_same_v<Value, double>) {
    return number;
  } else {
    return static_cast<Value>(std::llround(number));
  }
}

}  // namespace

std::span<const Field> fields() { return kFields; }

const Field* find_field(std::string_view name) {
  for (const Field& field : kFields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

double value_of(const ChipSpec& chip, const Field& field) {
  return std::visit([&chip]<class Value, class Owner>(
                        Value Owner::*place) { return to_number(owner_in<Owner>(chip).*place); },
                    field.place);
}

ChipSpec with_value(ChipSpec chip, const Field& field, double value) {
  std::visit([&chip, value]<class Value, class Owner>(
                 Value Owner::*place) { owner_in<Owner>(chip).*place = from_number<Value>(value); },
             field.place);
  return chip;
}

}  // namespace npu_sim::model
