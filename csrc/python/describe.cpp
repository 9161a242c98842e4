// What a finished call of a torch operator asks of the card, as the route itself would say it.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include <string>
#include <vector>

#include "aten/describe/registry.h"
#include "python/bindings.h"
#include "python/work.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

std::vector<c10::IValue> values(const std::vector<c10::Argument>& schema, const py::list& given) {
  std::vector<c10::IValue> out;
  for (std::size_t i = 0; i < schema.size() && i < given.size(); ++i) {
    out.push_back(torch::jit::toIValue(given[i], schema[i].real_type(), schema[i].N()));
  }
  return out;
}

// The works of all kernels that the call launches; tensors give shapes only, nothing is read.
py::list describe(const std::string& name, const std::string& overload, const py::list& arguments,
                  const py::list& results) {
  const c10::OperatorHandle handle =
      c10::Dispatcher::singleton().findSchemaOrThrow(name.c_str(), overload.c_str());
  const std::vector<c10::IValue> in = values(handle.schema().arguments(), arguments);
  const std::vector<c10::IValue> out = values(handle.schema().returns(), results);
  const aten::Call call{.arguments = in, .results = out};
  const aten::Description description = aten::describe(handle.operator_name());
  py::list works;
  works.append(to_dict(description.describer(call)));
  for (const aten::Describer further : description.rest) {
    const model::Work work = further(call);
    if (!std::holds_alternative<model::NoWork>(work)) works.append(to_dict(work));
  }
  return works;
}

}  // namespace

void bind_describe(py::module_& module) {
  module.def("describe", &describe, py::arg("name"), py::arg("overload"), py::arg("arguments"),
             py::arg("results"));
}

}  // namespace npu_sim::python
