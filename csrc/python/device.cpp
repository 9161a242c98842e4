// The device table, streams and the host clock.
#include "runtime/device.h"

#include "base/error.h"
#include "python/bindings.h"
#include "runtime/core_limit.h"
#include "runtime/device_stop.h"
#include "runtime/event.h"
#include "runtime/stream.h"
#include "runtime/sync_debug.h"
#include "runtime/sync_launch.h"
#include "runtime/utilization.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

constexpr auto kReleaseGil = py::call_guard<py::gil_scoped_release>();

// The events by the handles that torch.Event shows; 0 is one that was never recorded.
std::int64_t elapsed_ps(std::uintptr_t start, std::uintptr_t end) {
  if (start == 0 || end == 0) {
    throw base::ValueError("Both events must be recorded before calculating elapsed time.");
  }
  return runtime::Event::elapsed(*reinterpret_cast<const runtime::Event*>(start),
                                 *reinterpret_cast<const runtime::Event*>(end))
      .count();
}

py::tuple to_tuple(runtime::CoreCount cores) { return py::make_tuple(cores.cube, cores.vector); }

// Core counts are (cube, vector); -1 in a request leaves that kind as it is.
void bind_core_limits(py::module_& module) {
  const auto device = py::arg("device");
  const auto index = py::arg("index");
  module.def(
      "limit_device_cores",
      [](int on, int cube, int vector) {
        runtime::limit_device_cores(on, {cube, vector});
      },
      device, py::arg("cube"), py::arg("vector"));
  module.def(
      "device_cores", [](int on) { return to_tuple(runtime::device_cores(on)); }, device);
  module.def(
      "limit_stream_cores",
      [](int on, int stream, int cube, int vector) {
        runtime::limit_stream_cores({on, stream}, {cube, vector});
      },
      device, index, py::arg("cube"), py::arg("vector"));
  module.def(
      "stream_cores",
      [](int on, int stream) {
        return to_tuple(runtime::stream_cores({on, stream}));
      },
      device, index);
  module.def(
      "lift_stream_limit",
      [](int on, int stream) {
        runtime::lift_stream_limit({on, stream});
      },
      device, index);
}

}  // namespace

void bind_device(py::module_& module) {
  module.def("device_count", &runtime::device_count);
  module.def("current_device", &runtime::current_device);
  module.def("set_device", &runtime::set_current_device, py::arg("device"));
  module.def("exchange_device", &runtime::exchange_device, py::arg("device"));
  module.def("synchronize_device", &runtime::synchronize_device, py::arg("device"), kReleaseGil);
  module.def("mark_used", &runtime::mark_used);
  module.def("used", &runtime::used);
  module.def("in_bad_fork", &runtime::in_bad_fork);
  module.def("host_now_ps", [] { return runtime::host_now().count(); });
  module.def(
      "stream_priority",
      [](int device, int index) {
        return runtime::priority_of({.device = device, .index = index});
      },
      py::arg("device"), py::arg("index"));
  module.def(
      "sync_launch_stream", [](int device) { return runtime::sync_launch_stream(device).index; },
      py::arg("device"));
  module.def("utilization", &runtime::utilization, py::arg("device"));
  module.def("stop_device", &runtime::stop_device, py::arg("device"));
  module.def("restart_device", &runtime::restart_device, py::arg("device"));
  module.def(
      "set_sync_debug_mode",
      [](int mode) { runtime::set_sync_debug_mode(static_cast<runtime::SyncDebugMode>(mode)); },
      py::arg("mode"));
  module.def("sync_debug_mode", [] { return static_cast<int>(runtime::sync_debug_mode()); });
  bind_core_limits(module);
  module.def("elapsed_ps", &elapsed_ps, py::arg("start"), py::arg("end"));
  module.def("stream_priority_range",
             [] { return py::make_tuple(runtime::kLowestPriority, runtime::kHighestPriority); });
}

}  // namespace npu_sim::python
