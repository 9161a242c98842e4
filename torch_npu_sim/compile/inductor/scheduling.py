"""From Inductor's fused nodes to C++ kernels, one kernel a node, each followed by its record."""

from typing import Any

from torch._inductor.codegen.cpp import CppScheduling, OuterLoopFusedSchedulerNode
from torch._inductor.scheduler import SchedulerNode
from torch._inductor.virtualized import V

from torch_npu_sim.compile.inductor.kernel_work import describe

__all__ = ["NpuScheduling"]


class NpuScheduling(CppScheduling):
    """Inductor's C++ code generator for npu.

    For the CPU, Inductor puts all nodes between two library calls into one function. A card
    launches a kernel for each, so the function ends after each node here.
    """

    def __init__(self, scheduler: Any) -> None:
        """Begins a graph; `scheduler` is None when Inductor only asks for features."""
        super().__init__(scheduler)  # type: ignore[no-untyped-call]
        self._sweeps: list[list[SchedulerNode]] = []
        self._kernel_name = ""

    def ready_to_flush(self) -> bool:
        """Returns True: each fused node is a kernel of its own."""
        return True

    def codegen_node(self, node: Any) -> None:
        """Generates a node's C++, and notes which loops it is made of."""
        fused = isinstance(node, OuterLoopFusedSchedulerNode)
        outer: list[Any] = node.get_outer_nodes() if fused else [node]
        self._sweeps += [part.get_nodes() for part in outer]
        super().codegen_node(node)

    def define_kernel(self, src_code: str, nodes: Any, kernel_args: Any = None) -> str:
        """Names the kernel, and keeps the name for the record."""
        name: str = super().define_kernel(src_code, nodes, kernel_args)  # type: ignore[no-untyped-call]
        self._kernel_name = name
        return name

    def flush(self) -> None:
        """Writes the kernel, its call, and the record of its launch."""
        sweeps, self._sweeps = self._sweeps, []
        group = self.kernel_group
        super().flush()  # type: ignore[no-untyped-call]
        if sweeps:
            line = describe(sweeps, group.args, self._kernel_name)
            V.graph.wrapper_code.writeline(line)  # type: ignore[no-untyped-call]
