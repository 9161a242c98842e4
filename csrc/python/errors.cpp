// How the errors of the torch-free rooms reach Python.
#include <exception>

#include "base/error.h"
#include "python/bindings.h"

namespace npu_sim::python {

void bind_errors(pybind11::module_&) {
  pybind11::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const base::OutOfMemoryError& error) {
      const auto torch = pybind11::module_::import("torch");
      pybind11::set_error(torch.attr("OutOfMemoryError"), error.what());
    } catch (const base::ValueError& error) {
      pybind11::set_error(PyExc_ValueError, error.what());
    } catch (const base::Error& error) {
      pybind11::set_error(PyExc_RuntimeError, error.what());
    }
  });
}

}  // namespace npu_sim::python
