// L2 between kernels, fidelity, and what the DRAM level says of an access pattern.
#include <pybind11/stl.h>

#include <string>

#include "model/memory/dram/replay.h"
#include "python/bindings.h"
#include "runtime/device.h"
#include "runtime/l2_state.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

py::dict contents(int device) {
  const runtime::L2Contents held = runtime::l2_contents(device);
  py::dict out;
  out["capacity"] = held.capacity;
  out["resident"] = held.resident;
  out["dirty"] = held.dirty;
  return out;
}

// What a gigabyte of a pattern gets of a chip's DRAM.
py::dict dram_bandwidth(const std::string& chip_name, double written_share, double piece_bytes,
                        const std::string& mapping) {
  constexpr double kBytes = 1e9;
  const model::ChipSpec chip = model::preset(chip_name);
  const model::DramSpec dram = model::dram_of(chip, mapping);
  const model::DramResult result = model::replay({.read_bytes = kBytes * (1 - written_share),
                                                  .written_bytes = kBytes * written_share,
                                                  .piece_bytes = piece_bytes},
                                                 chip, dram);
  py::dict out;
  out["dram"] = std::string(dram.name);
  out["channels"] = dram.channels;
  out["peak_bytes_per_s"] = dram.peak_bytes_per_s();
  out["bytes_per_s"] = result.bytes_per_s();
  out["transaction_bytes"] = chip.transaction_bytes;
  out["requests"] = result.requests;
  out["row_hits"] = result.row_hits;
  out["activates"] = result.activates;
  out["refreshes"] = result.refreshes;
  out["turns"] = result.turns;
  out["read_latency_ps"] = result.read_latency_ps;
  return out;
}

}  // namespace

void bind_memory_model(py::module_& module) {
  module.def("fidelity", [] { return std::string(model::name(runtime::fidelity())); });
  module.def(
      "set_fidelity",
      [](const std::string& name) { runtime::set_fidelity(model::fidelity_named(name)); },
      py::arg("name"));
  module.def("flush_l2", &runtime::flush_l2, py::arg("device"));
  module.def("l2_contents", &contents, py::arg("device"));
  module.def("dram_bandwidth", &dram_bandwidth, py::arg("chip"), py::arg("written_share"),
             py::arg("piece_bytes"), py::arg("mapping"));
}

}  // namespace npu_sim::python
