// The caching allocator: statistics, limits and raw blocks.
#include <string>

#include "python/bindings.h"
#include "runtime/device.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

py::dict to_dict(const runtime::Stat& stat) {
  py::dict out;
  out["current"] = stat.current;
  out["peak"] = stat.peak;
  out["allocated"] = stat.allocated;
  out["freed"] = stat.freed;
  return out;
}

py::dict to_dict(const runtime::PoolStats& stats) {
  py::dict out;
  out["all"] = to_dict(stats[static_cast<std::size_t>(runtime::PoolKind::kAll)]);
  out["small_pool"] = to_dict(stats[static_cast<std::size_t>(runtime::PoolKind::kSmall)]);
  out["large_pool"] = to_dict(stats[static_cast<std::size_t>(runtime::PoolKind::kLarge)]);
  return out;
}

// torch's nested form: what torch.cuda.memory_stats_as_nested_dict names.
py::dict memory_stats(int device) {
  const runtime::MemoryStats stats = runtime::memory_stats(device);
  py::dict out;
  out["allocation"] = to_dict(stats.allocation);
  out["segment"] = to_dict(stats.segment);
  out["active"] = to_dict(stats.active);
  out["inactive_split"] = to_dict(stats.inactive_split);
  out["allocated_bytes"] = to_dict(stats.allocated_bytes);
  out["reserved_bytes"] = to_dict(stats.reserved_bytes);
  out["active_bytes"] = to_dict(stats.active_bytes);
  out["inactive_split_bytes"] = to_dict(stats.inactive_split_bytes);
  out["requested_bytes"] = to_dict(stats.requested_bytes);
  out["oversize_allocations"] = to_dict(stats.oversize_allocations);
  out["oversize_segments"] = to_dict(stats.oversize_segments);
  out["num_alloc_retries"] = stats.num_alloc_retries;
  out["num_ooms"] = stats.num_ooms;
  out["num_sync_all_streams"] = stats.num_sync_all_streams;
  out["num_device_alloc"] = stats.num_device_alloc;
  out["num_device_free"] = stats.num_device_free;
  out["max_split_size"] = stats.max_split_size;
  return out;
}

std::uintptr_t allocate(int device, int stream, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(
      runtime::allocate({.device = device, .index = stream}, bytes));
}

// Blocks in use on all devices.
std::int64_t live_blocks() {
  std::int64_t blocks = 0;
  for (int device = 0; device < runtime::device_count(); ++device) {
    blocks += runtime::memory_stats(device)
                  .allocation[static_cast<std::size_t>(runtime::PoolKind::kAll)]
                  .current;
  }
  return blocks;
}

void deallocate(std::uintptr_t address) {
  void* const pointer = reinterpret_cast<void*>(address);
  if (pointer != nullptr && runtime::allocated_size(pointer) == 0) {
    throw py::value_error(
        "caching_allocator_delete: expected an address that "
        "caching_allocator_alloc returned and nobody has freed, got " +
        std::to_string(address));
  }
  runtime::deallocate(pointer);
}

}  // namespace

void bind_memory(py::module_& module) {
  const auto device = py::arg("device");
  module.def("memory_stats", &memory_stats, device);
  module.def("live_blocks", &live_blocks);
  module.def("reset_peak_memory_stats", &runtime::reset_peak_memory_stats, device);
  module.def("reset_accumulated_memory_stats", &runtime::reset_accumulated_memory_stats, device);
  module.def("empty_cache", &runtime::empty_cache, device);
  module.def(
      "memory_info",
      [](int index) {
        const runtime::MemoryInfo info = runtime::memory_info(index);
        return py::make_tuple(info.free, info.total);
      },
      device);
  module.def("set_memory_fraction", &runtime::set_memory_fraction, device, py::arg("fraction"));
  module.def("memory_fraction", &runtime::memory_fraction, device);
  module.def("allocate", &allocate, device, py::arg("stream"), py::arg("bytes"));
  module.def("deallocate", &deallocate, py::arg("address"));
}

}  // namespace npu_sim::python
