"""Inductor's table of patterns is traced on the CPU.

At the first compilation Inductor traces the graphs it will look for, on the device that is compiled
for, and keeps their constants for good. On npu that would put kernels that no program asked for on
the simulated clock, and leave memory in use on the card. The patterns do not name a device.
"""

import functools
from typing import Any

import torch
from torch._inductor.fx_passes import joint_graph

__all__ = ["trace_patterns_on_the_cpu"]


def trace_patterns_on_the_cpu() -> None:
    """Replaces the function that traces them. Called once."""
    original = joint_graph.lazy_init

    @functools.wraps(original)
    def lazy_init(input_device: torch.device | None = None) -> Any:
        on_npu = input_device is not None and input_device.type == "npu"
        return original(torch.device("cpu") if on_npu else input_device)

    joint_graph.lazy_init = lazy_init
