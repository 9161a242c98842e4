// The device table, streams and the host clock.
#include "runtime/device.h"

#include "python/bindings.h"
#include "runtime/stream.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

constexpr auto kReleaseGil = py::call_guard<py::gil_scoped_release>();

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
  module.def("stream_priority_range",
             [] { return py::make_tuple(runtime::kLowestPriority, runtime::kHighestPriority); });
}

}  // namespace npu_sim::python
