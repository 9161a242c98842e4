// What only the torch side of the extension can answer: start-up, generators and pinned memory.
#include <torch/csrc/Generator.h>
#include <torch/csrc/utils/device_lazy_init.h>

#include "aten/registration.h"
#include "backend/backward_thread.h"
#include "backend/device_type.h"
#include "backend/generator.h"
#include "backend/kernel_memory.h"
#include "backend/pinned_memory.h"
#include "ops/extension/registration.h"
#include "python/bindings.h"
#include "runtime/sync_debug.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

py::dict to_dict(const c10::CachingAllocator::Stat& stat) {
  py::dict out;
  out["current"] = stat.current;
  out["peak"] = stat.peak;
  out["allocated"] = stat.allocated;
  out["freed"] = stat.freed;
  return out;
}

py::dict to_dict(const c10::CachingAllocator::DurationStat& stat) {
  py::dict out;
  out["total"] = stat.total;
  out["max"] = stat.max;
  out["min"] = stat.min;
  out["count"] = stat.count;
  out["avg"] = stat.count == 0 ? 0 : stat.total / stat.count;
  return out;
}

py::dict host_memory_stats() {
  const at::HostStats stats = backend::pinned_allocator()->get_stats();
  py::dict out;
  out["num_host_alloc"] = stats.num_host_alloc;
  out["num_host_free"] = stats.num_host_free;
  out["active_requests"] = to_dict(stats.active_requests);
  out["active_bytes"] = to_dict(stats.active_bytes);
  out["allocations"] = to_dict(stats.allocations);
  out["allocated_bytes"] = to_dict(stats.allocated_bytes);
  out["host_alloc_time"] = to_dict(stats.host_alloc_time);
  out["host_free_time"] = to_dict(stats.host_free_time);
  return out;
}

py::object default_generator(int device) {
  const auto index = static_cast<c10::DeviceIndex>(device);
  return py::reinterpret_steal<py::object>(THPGenerator_Wrap(backend::default_generator(index)));
}

// After this, torch asks torch.npu._lazy_init() again in a forked child, which refuses there.
void watch_forks() { torch::utils::register_fork_handler_for_device_init(backend::kNpu); }

}  // namespace

void bind_backend(py::module_& module) {
  module.def("initialize", [] {
    backend::install_kernel_memory();
    aten::register_route();
    runtime::set_sync_warning([](const char* text) { TORCH_WARN(text); });
  });
  module.def("enable_custom_ops", &ops::enable_extension);
  module.def("watch_forks", &watch_forks);
  module.def("threads_that_allocated", [] {
    py::list ids;
    for (const long id : backend::threads_that_allocated()) ids.append(id);
    return ids;
  });
  module.def("default_generator", &default_generator, py::arg("device"));
  module.def("host_memory_stats", &host_memory_stats);
  module.def("empty_host_cache", [] { backend::pinned_allocator()->empty_cache(); });
  module.def("reset_peak_host_memory_stats",
             [] { backend::pinned_allocator()->reset_peak_stats(); });
  module.def("reset_accumulated_host_memory_stats",
             [] { backend::pinned_allocator()->reset_accumulated_stats(); });
}

}  // namespace npu_sim::python
