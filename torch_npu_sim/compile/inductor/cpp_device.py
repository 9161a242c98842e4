"""Where Inductor asks "is this the CPU?" and means "is this generated as C++?".

Inductor has one C++ device. A few of its questions decide how C++ is generated, yet name the CPU;
npu must get the same answer, or the code generator meets loops and values that it does not know.
Each is replaced by itself with npu taken as generated in C++, in torch 2.13's private modules;
questions about the device itself (allocations, library calls) are left alone.
"""

from collections.abc import Callable
from typing import Any

import torch._inductor.codegen.common
import torch._inductor.scheduler
import torch._inductor.utils
from torch._inductor.graph import GraphLowering
from torch._inductor.scheduler import BaseSchedulerNode
from torch._inductor.virtualized import V

__all__ = ["generate_as_cpp"]


def generate_as_cpp() -> None:
    """Replaces the questions. Called once."""
    backend = _current_backend(torch._inductor.utils.get_current_backend)
    for module in (
        torch._inductor.utils,
        torch._inductor.codegen.common,
        torch._inductor.scheduler,
    ):
        module.get_current_backend = backend  # type: ignore[attr-defined]
    # Loops are not reordered to fit each other: the C++ generator wants them as they are.
    BaseSchedulerNode.is_cpu = _is_generated_as_cpp  # type: ignore[method-assign]
    layout = GraphLowering.decide_layout_opt
    GraphLowering.decide_layout_opt = staticmethod(_decide_layout(layout))  # type: ignore[method-assign]


def _current_backend(original: Callable[[str | None], str]) -> Callable[[str | None], str]:
    def get_current_backend(device_type: str | None = None) -> str:
        kind = device_type or V.graph.get_current_device_or_throw().type
        return "cpp" if kind == "npu" else original(kind)

    return get_current_backend


def _is_generated_as_cpp(self: BaseSchedulerNode) -> bool:
    device = self.get_device()
    return device is not None and device.type in ("cpu", "npu")


def _decide_layout(original: Callable[..., bool]) -> Callable[..., bool]:
    """Keeps the layouts of convolutions as they are.

    The heuristics are measurements of GPUs, where channels_last is the faster layout.
    """

    def decide_layout_opt(graph: Any, *, is_inference: bool) -> bool:
        for node in graph.graph.nodes:
            if node.target is torch.ops.aten.convolution.default:
                if node.args[0].meta["val"].device.type == "npu":
                    return False
        return original(graph, is_inference=is_inference)

    return decide_layout_opt
