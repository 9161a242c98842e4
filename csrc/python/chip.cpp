// Chips: the presets, one chip's numbers with their sources, and the chip the cards are.
#include <pybind11/stl.h>

#include <map>
#include <string>

#include "model/chip/chip_spec.h"
#include "python/bindings.h"
#include "runtime/device.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;
using Overrides = std::map<std::string, double>;

// The preset with a user's numbers in it, under the user's name for it if there is one.
model::ChipSpec derive(const std::string& base, const Overrides& overrides,
                       const std::string& name) {
  model::ChipSpec chip = model::with_overrides(model::preset(base), overrides);
  if (!name.empty()) chip.name = name;
  if (!overrides.empty()) chip.summary = "A user's chip, made from " + chip.based_on;
  return chip;
}

py::dict describe(const model::ChipSpec& chip) {
  py::dict out;
  out["name"] = chip.name;
  out["soc_name"] = chip.soc_name;
  out["summary"] = chip.summary;
  out["cube_cores"] = chip.cube_cores;
  out["vector_cores"] = chip.vector_cores;
  out["memory_bytes"] = chip.memory_bytes;
  out["l2_bytes"] = chip.l2_bytes;
  out["fidelity"] = model::name(chip.fidelity);
  return out;
}

// (name, value, unit, source) a row.
py::list parameter_rows(const model::ChipSpec& chip) {
  py::list rows;
  for (const model::Parameter& parameter : model::parameters(chip)) {
    rows.append(py::make_tuple(parameter.name, parameter.value, parameter.unit, parameter.source));
  }
  return rows;
}

}  // namespace

void bind_chip(py::module_& module) {
  const auto base = py::arg("base");
  const auto overrides = py::arg("overrides");
  const auto name = py::arg("name");
  module.def("chip_names", &model::preset_names);
  module.def("chip", [] { return describe(runtime::chip()); });
  module.def("chip_parameters", [] { return parameter_rows(runtime::chip()); });
  module.def(
      "set_chip",
      [](const std::string& from, const Overrides& values, const std::string& as) {
        model::ChipSpec chip = derive(from, values, as);
        chip.fidelity = runtime::fidelity();
        runtime::set_chip(std::move(chip));
      },
      base, overrides, name);
  module.def(
      "describe_chip",
      [](const std::string& from, const Overrides& values, const std::string& as) {
        return describe(derive(from, values, as));
      },
      base, overrides, name);
  module.def(
      "describe_chip_parameters",
      [](const std::string& from, const Overrides& values, const std::string& as) {
        return parameter_rows(derive(from, values, as));
      },
      base, overrides, name);
}

}  // namespace npu_sim::python
