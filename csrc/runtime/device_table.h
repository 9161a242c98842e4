// The one place with global state: clock, schedule, allocators, traces and the chip.
//
// Locks, in the order in which they may be taken (fork.cpp takes them all): `chip_mutex`, one an
// allocator (by device), the address space's, `timeline_mutex`, the trace log's, the counters',
// the core limits', the memory
// pools', the foreign memory's, `intern_mutex`. None is held while code outside the runtime runs.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "model/chip/chip_spec.h"
#include "runtime/core_limit.h"
#include "runtime/host_clock.h"
#include "runtime/l2_state.h"
#include "runtime/memory/address_space.h"
#include "runtime/memory/device_allocator.h"
#include "runtime/memory/foreign_memory.h"
#include "runtime/memory/mem_pool.h"
#include "runtime/op_counters.h"
#include "runtime/sync_debug.h"
#include "runtime/timeline/timeline.h"
#include "runtime/trace_log.h"
#include "runtime/utilization.h"

namespace npu_sim::runtime {

struct DeviceTable {
  explicit DeviceTable(int count);

  const int count;
  HostClock clock;

  std::mutex timeline_mutex;
  Timeline timeline;
  L2State l2;  // under timeline_mutex

  AddressSpace addresses;
  std::vector<std::unique_ptr<DeviceAllocator>> allocators;
  MemPoolRegistry mem_pools;
  ForeignMemory foreign_memory;

  // Turns of the pools of streams, by device.
  std::array<std::array<std::atomic<std::uint32_t>, 3>, kMaxDevices> next_in_pool{};

  TraceLog trace;
  OpCounter undescribed;
  OpCounter fallbacks;

  std::mutex chip_mutex;
  std::atomic<const model::ChipSpec*> chip{nullptr};
  // Every chip there ever was: references handed out stay valid.
  std::vector<std::unique_ptr<const model::ChipSpec>> chips;

  CoreLimits core_limits;
  std::array<std::atomic<bool>, kMaxDevices> stopped{};  // by stop_device()
  std::atomic<bool> any_stopped{false};                  // ever: then each launch looks
  UtilizationMeter utilization;                          // under timeline_mutex

  std::atomic<SyncDebugMode> sync_debug_mode{SyncDebugMode::kDefault};
  std::atomic<SyncWarning> sync_warning{nullptr};

  std::mutex intern_mutex;
  std::unordered_set<std::string> interned;

  std::atomic<bool> used{false};
  std::atomic<bool> in_bad_fork{false};
};

// Made on first use and never destroyed: torch frees storages after static destructors have run.
[[nodiscard]] DeviceTable& device_table();

// Charges the host for one query of a stream or an event, and returns its clock: without that a
// loop that polls would never see time pass.
base::SimTime advance_for_poll();

// Throw base::ValueError that names the caller's argument.
void check_device(int device);
void check_stream(StreamId stream);

}  // namespace npu_sim::runtime
