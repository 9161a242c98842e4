// Traces: what ran, as plain rows; times in whole picoseconds.
#include "runtime/trace.h"

#include <pybind11/stl.h>

#include "model/work/name.h"
#include "python/bindings.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

// pipe -> busy picoseconds, idle pipes left out
py::dict busy_pipes(const model::KernelTime& time) {
  py::dict out;
  for (std::size_t i = 0; i < model::kPipeCount; ++i) {
    if (time.busy[i].count() == 0) continue;
    out[py::str(std::string(model::name(static_cast<model::Pipe>(i))))] = time.busy[i].count();
  }
  return out;
}

py::dict to_dict(const runtime::KernelRecord& record) {
  const model::KernelTime& time = record.time;
  py::dict out;
  out["op"] = record.op;
  out["name"] = record.name;
  out["device"] = record.stream.device;
  out["stream"] = record.stream.index;
  out["issued_ps"] = record.issued.count();
  out["start_ps"] = record.start.count();
  out["end_ps"] = record.end.count();
  out["alone_ps"] = time.duration.count();
  out["bound"] = model::name(time.bound);
  out["pipes_ps"] = busy_pipes(time);
  out["bytes_read"] = time.bytes_read.count();
  out["bytes_written"] = time.bytes_written.count();
  out["flops"] = time.flops.count();
  out["energy_pj"] = time.energy.count();
  out["provenance"] = model::name(time.provenance);
  out["work"] = model::to_text(record.work);
  return out;
}

py::dict stop_trace(std::int64_t id) {
  const runtime::TraceData data = [id] {
    const py::gil_scoped_release release;
    return runtime::stop_trace(id);
  }();
  py::list kernels;
  for (const runtime::KernelRecord& record : data.kernels) kernels.append(to_dict(record));
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
