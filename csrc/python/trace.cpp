// Traces: what ran, as plain rows; times in whole picoseconds.
#include "runtime/trace.h"

#include <pybind11/stl.h>

#include "model/work/name.h"
#include "python/bindings.h"
#include "python/work.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

py::dict row_of(const runtime::KernelRecord& record) {
  py::dict out = to_dict(record.time);
  out["op"] = record.op;
  out["name"] = record.name;
  out["device"] = record.stream.device;
  out["stream"] = record.stream.index;
  out["issued_ps"] = record.issued.count();
  out["start_ps"] = record.start.count();
  out["end_ps"] = record.end.count();
  out["work"] = model::to_text(record.work);
  out["fields"] = to_dict(record.work);
  return out;
}

py::dict stop_trace(std::int64_t id) {
  const runtime::TraceData data = [id] {
    const py::gil_scoped_release release;
    return runtime::stop_trace(id);
  }();
  py::list kernels;
  for (const runtime::KernelRecord& record : data.kernels) kernels.append(row_of(record));
  py::list memory;
  for (const runtime::MemoryRecord& record : data.memory) {
    memory.append(py::make_tuple(record.device, record.at.count(), record.allocated_bytes,
                                 record.reserved_bytes));
  }
  py::dict out;
  out["begin_ps"] = data.begin.count();
  out["end_ps"] = data.end.count();
  out["kernels"] = kernels;
  out["memory"] = memory;
  return out;
}

}  // namespace

void bind_trace(py::module_& module) {
  module.def("start_trace", &runtime::start_trace);
  module.def("stop_trace", &stop_trace, py::arg("id"));
  module.def("undescribed_ops", &runtime::undescribed_ops);
  module.def("fallback_ops", &runtime::fallback_ops);
}

}  // namespace npu_sim::python
