// The device table, streams and the host clock.
#include "runtime/device.h"

#include "base/error.h"
#include "python/bindings.h"
#include "runtime/event.h"
#include "runtime/stream.h"

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
  module.def("elapsed_ps", &elapsed_ps, py::arg("start"), py::arg("end"));
  module.def("stream_priority_range",
             [] { return py::make_tuple(runtime::kLowestPriority, runtime::kHighestPriority); });
}

}  // namespace npu_sim::python
