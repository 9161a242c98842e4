// Kernels that only move data, and calls that are no kernel.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace npu_sim::model {

using base::Bytes;

// `items` pieces of `item` bytes each, read from (gather) or written to (scatter) computed places.
struct GatherWork {
  std::int64_t items = 0;
  Bytes item{};
  Bytes index{};    // bytes of all indices
  Bytes written{};  // bytes written, all items
  Bytes read{};     // bytes read besides the indices
  bool scatter = false;
  bool accumulates = false;  // atomic adds
  Bytes table{};  // bytes the places span; 0: unknown. One that fits L2 crosses HiBL only once
  bool one_by_one = false;   // each item's place is read just before it, and waited for
  std::int64_t scalars = 0;  // numbers that every core reads one by one before it starts
  std::int64_t choices = 0;  // places an item may come from; 0: all of the table
  std::int64_t run = 1;      // neighbouring items whose choices lie side by side

  bool operator==(const GatherWork&) const = default;
};

enum class CopyRoute : std::uint8_t { kWithinDevice, kHostToDevice, kDeviceToHost, kPeer };

// Where what is read goes: back to memory, or only into a vector core's scratchpad or, in fractal
// order, into a cube core's.
enum class CopyTarget : std::uint8_t { kMemory, kUb, kL1 };

// Moves bytes. `run` is the shortest contiguous piece on either side (= bytes when both are dense;
// 0 means dense too).
struct CopyWork {
  CopyRoute route = CopyRoute::kWithinDevice;
  Bytes read{};
  Bytes written{};
  Bytes run{};
  Bytes span{};  // first to last byte of the strided side, which bounds its traffic; 0: unknown
  Bytes transposed{};  // element size where rows become columns; 0: runs stay whole
  CopyTarget target = CopyTarget::kMemory;
  std::int32_t descriptor_runs = 0;  // runs a transfer command moves; 0: as many as fit a tile
  Bytes pitch{};                     // start to start of rows; 0: whole transactions
  std::int32_t sweeps = 1;           // times everything is read
  bool sliced = false;               // slices that fit L2 are read `sweeps` times in turn

  bool operator==(const CopyWork&) const = default;
};

// An operator the card lacks: inputs to the host, host work, outputs back.
struct HostWork {
  Bytes to_host{};
  Bytes to_device{};
  Bytes host_traffic{};  // bytes the host kernel streams

  bool operator==(const HostWork&) const = default;
};

// An operator nobody has described: timed by its bytes, and counted as undescribed.
struct UndescribedWork {
  Bytes read{};
  Bytes written{};

  bool operator==(const UndescribedWork&) const = default;
};

// A call that launches no kernel (a view, a query): costs the host only.
struct NoWork {
  bool operator==(const NoWork&) const = default;
};

}  // namespace npu_sim::model
