// Snapshots and the event history of the allocator, with the keys that torch's memory_viz reads.
#include <string_view>

#include "python/bindings.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

std::string_view state_of(const runtime::BlockSnapshot& block) {
  if (block.allocated) return "active_allocated";
  return block.active ? "active_pending_free" : "inactive";
}

py::dict to_dict(const runtime::BlockSnapshot& block) {
  py::dict out;
  out["address"] = block.address;
  out["size"] = block.size;
  out["requested_size"] = block.requested_size;
  out["state"] = state_of(block);
  out["frames"] = py::list();
  return out;
}

py::dict to_dict(const runtime::SegmentSnapshot& segment) {
  py::list blocks;
  for (const runtime::BlockSnapshot& block : segment.blocks) blocks.append(to_dict(block));
  py::dict out;
  out["device"] = segment.device;
  out["address"] = segment.address;
  out["total_size"] = segment.total_size;
  out["allocated_size"] = segment.allocated_size;
  out["active_size"] = segment.active_size;
  out["requested_size"] = segment.requested_size;
  out["stream"] = segment.stream.index;
  out["segment_type"] = segment.is_large ? "large" : "small";
  out["segment_pool_id"] = py::make_tuple(0, segment.mem_pool);
  out["is_expandable"] = false;
  out["frames"] = py::list();
  out["blocks"] = blocks;
  return out;
}

std::string_view name(runtime::MemoryTraceEntry::Action action) {
  using Action = runtime::MemoryTraceEntry::Action;
  switch (action) {
    case Action::kAlloc: return "alloc";
    case Action::kFreeRequested: return "free_requested";
    case Action::kFreeCompleted: return "free_completed";
    case Action::kSegmentAlloc: return "segment_alloc";
    case Action::kSegmentFree: return "segment_free";
    case Action::kOom: return "oom";
    case Action::kSnapshot: return "snapshot";
  }
  return "unknown";
}

py::dict to_dict(const runtime::MemoryTraceEntry& entry) {
  const bool oom = entry.action == runtime::MemoryTraceEntry::Action::kOom;
  py::dict out;
  out["action"] = name(entry.action);
  out[oom ? "device_free" : "addr"] = entry.address;
  out["size"] = entry.size;
  out["stream"] = entry.stream.index;
  out["time_us"] = entry.time_us;
  out["frames"] = py::list();
  return out;
}

}  // namespace

void bind_memory_history(py::module_& module) {
  module.def(
      "memory_snapshot",
      [](int device) {
        py::list out;
        for (const auto& segment : runtime::memory_snapshot(device)) out.append(to_dict(segment));
        return out;
      },
      py::arg("device"));
  module.def("record_memory_history", &runtime::record_memory_history, py::arg("max_entries"));
  module.def(
      "memory_history",
      [](int device) {
        py::list out;
        for (const auto& entry : runtime::memory_history(device)) out.append(to_dict(entry));
        return out;
      },
      py::arg("device"));
}

}  // namespace npu_sim::python
