"""Inductor on npu: its C++ kernels compute, and each launch is put on the simulated clock.

`install()` is called once Inductor has been imported (see `torch_npu_sim.compile`).
"""

from torch._inductor.codegen.common import (
    register_backend_for_device,
    register_device_op_overrides,
)

from torch_npu_sim.compile.inductor.cache_key import CacheKey
from torch_npu_sim.compile.inductor.cpp_device import generate_as_cpp
from torch_npu_sim.compile.inductor.device_code import NpuDeviceCode
from torch_npu_sim.compile.inductor.patterns import trace_patterns_on_the_cpu
from torch_npu_sim.compile.inductor.scheduling import NpuScheduling
from torch_npu_sim.compile.inductor.wrapper import NpuCppWrapper, NpuPythonWrapper

__all__ = ["NpuCppWrapper", "NpuPythonWrapper", "NpuScheduling", "install"]


def install() -> None:
    """Registers npu with Inductor."""
    register_device_op_overrides("npu", NpuDeviceCode())
    register_backend_for_device(
        "npu",
        NpuScheduling,
        NpuPythonWrapper,
        NpuCppWrapper,
        device_custom_pass=CacheKey(),
    )
    generate_as_cpp()
    trace_patterns_on_the_cpu()
