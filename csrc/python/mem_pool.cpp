// Private pools of the caching allocator, and allocators from a user's shared library.
#include "runtime/memory/mem_pool.h"

#include "python/bindings.h"
#include "runtime/memory/foreign_memory.h"

namespace npu_sim::python {
namespace {

namespace py = pybind11;

// The functions at two addresses of a loaded library.
runtime::ForeignFunctions functions_at(std::uintptr_t allocate, std::uintptr_t free) {
  return {reinterpret_cast<runtime::ForeignFunctions::Allocate>(allocate),
          reinterpret_cast<runtime::ForeignFunctions::Free>(free)};
}

// Addresses 0 mean the caching allocator.
runtime::MemPoolId create_mem_pool(bool use_on_oom, bool no_split, std::uintptr_t allocate,
                                   std::uintptr_t free) {
  runtime::MemPoolOptions options{.use_on_oom = use_on_oom, .no_split = no_split};
  if (allocate != 0) options.functions = functions_at(allocate, free);
  return runtime::create_mem_pool(options);
}

}  // namespace

void bind_mem_pool(py::module_& module) {
  const auto device = py::arg("device");
  const auto pool = py::arg("pool");
  module.def("create_mem_pool", &create_mem_pool, py::arg("use_on_oom"), py::arg("no_split"),
             py::arg("allocate"), py::arg("free"));
  module.def("release_mem_pool", &runtime::release_mem_pool, pool);
  module.def("begin_mem_pool", &runtime::begin_mem_pool, device, pool);
  module.def("end_mem_pool", &runtime::end_mem_pool, device, pool, py::arg("previous"));
  module.def("mem_pool_uses", &runtime::mem_pool_uses, pool);
  module.def(
      "use_foreign_memory",
      [](std::uintptr_t allocate, std::uintptr_t free) {
        runtime::use_foreign_memory(functions_at(allocate, free));
      },
      py::arg("allocate"), py::arg("free"));
  module.def("uses_foreign_memory", &runtime::uses_foreign_memory);
}

}  // namespace npu_sim::python
