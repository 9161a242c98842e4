// torch_npu_sim._C: the table of the bindings.
#include "python/bindings.h"

PYBIND11_MODULE(_C, module) {
  using namespace npu_sim::python;
  module.doc() = "Bindings of torch_npu_sim; the public names are in torch_npu_sim and torch.npu.";
  bind_errors(module);
  bind_device(module);
  bind_chip(module);
  bind_memory(module);
  bind_mem_pool(module);
  bind_memory_history(module);
  bind_memory_model(module);
  bind_trace(module);
  bind_fused_kernel(module);
  bind_work(module);
  bind_describe(module);
  bind_explain(module);
  bind_backend(module);
}
