// Why a kernel takes its time, as plain rows.
#include "model/cost/explain.h"

#include <pybind11/stl.h>

#include <map>
#include <string>

#include "python/bindings.h"
#include "python/work.h"
#include "runtime/device.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

// Seconds and bytes of a plan by name.
py::dict plan_of(const model::Demand& demand) {
  py::dict out;
  out["cube_s"] = demand.cube_seconds;
  out["vector_s"] = demand.vector_seconds;
  out["mte1_s"] = demand.mte1_seconds;
  out["mte2_s"] = demand.mte2_seconds;
  out["mte3_s"] = demand.mte3_seconds;
  out["fixpipe_s"] = demand.fixpipe_seconds;
  out["start_s"] = demand.start_seconds;
  out["head_s"] = demand.head_seconds;
  out["tail_s"] = demand.tail_seconds;
  out["sync_s"] = demand.sync_seconds;
  out["link_s"] = demand.link_seconds;
  out["host_s"] = demand.host_seconds;
  out["read_bytes"] = demand.read_bytes;
  out["written_bytes"] = demand.written_bytes;
  out["l2_bytes"] = demand.l2_bytes;
  out["flops"] = demand.flops;
  return out;
}

py::dict explain(const py::dict& fields) {
  const model::Explanation explanation = model::explain(to_work(fields), runtime::chip());
  py::list facts;
  for (const model::Fact& fact : explanation.facts) {
    facts.append(py::make_tuple(fact.name, fact.value, fact.unit));
  }
  py::dict out;
  out["plan"] = plan_of(explanation.demand);
  out["facts"] = facts;
  return out;
}

}  // namespace

void bind_explain(py::module_& module) { module.def("explain", &explain, py::arg("work")); }

}  // namespace npu_sim::python
