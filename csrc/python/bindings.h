// One function a subject; module.cpp is the table that calls them. Plain Python types only:
// numbers, strings, tuples, lists and dicts, so that the Python face owns every class a user sees.
#pragma once

#include <pybind11/pybind11.h>

namespace npu_sim::python {

void bind_errors(pybind11::module_& module);
void bind_device(pybind11::module_& module);
void bind_chip(pybind11::module_& module);
void bind_memory(pybind11::module_& module);
void bind_mem_pool(pybind11::module_& module);
void bind_memory_history(pybind11::module_& module);
void bind_memory_model(pybind11::module_& module);
void bind_trace(pybind11::module_& module);
void bind_fused_kernel(pybind11::module_& module);
void bind_work(pybind11::module_& module);
void bind_describe(pybind11::module_& module);
void bind_explain(pybind11::module_& module);
void bind_backend(pybind11::module_& module);

}  // namespace npu_sim::python
