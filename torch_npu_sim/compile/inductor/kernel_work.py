"""What one generated kernel asks of the card, read from Inductor's representation of it.

Everything is an expression of sizes, so that one compiled graph records right work for every shape
it is called with. The result is a line of the generated wrapper: a call of
``_C.record_fused_kernel``.

- **Bytes.** Each buffer that comes from outside counts the elements that the kernel's index
  expressions reach, once, and at most its own; intermediate values that stay inside count nothing.
  Accesses at computed places count whole memory transactions (`_Traffic.pieces`).
- **Instructions.** `instructions` has the count of each operation of the loop bodies. They are the
  bodies that the C++ was generated from, so they contain the converts from and to bfloat16.
- **Rows.** A kernel with a reduction is row-wise: its rows are the reduction's results.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch._inductor.codegen.common import KernelArgs, RemovedArg
from torch._inductor.dependencies import MemoryDep, StarDep
from torch._inductor.scheduler import SchedulerNode
from torch._inductor.virtualized import V

from torch_npu_sim.compile.inductor.instructions import (
    Instructions,
    instructions_of,
    reduction_instructions,
)

__all__ = ["describe"]

_FORMATS = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8_e4m3",
    torch.float8_e4m3fnuz: "fp8_e4m3",
    torch.float8_e5m2: "fp8_e5m2",
    torch.float8_e5m2fnuz: "fp8_e5m2",
    torch.int64: "int64",
    torch.uint64: "int64",
    torch.int32: "int32",
    torch.uint32: "int32",
    torch.int16: "int16",
    torch.uint16: "int16",
    torch.int8: "int8",
    torch.uint8: "uint8",
    torch.bool: "bool",
}


def describe(sweeps: list[list[SchedulerNode]], args: KernelArgs, kernel: str) -> str:
    """Returns the line that records one launch of a kernel.

    Args:
        sweeps: the loops of the kernel, each with the nodes in its body.
        args: the kernel's arguments, which tell what is in memory and what stayed inside.
        kernel: its name in the generated code.
    """
    nodes = [node for sweep in sweeps for node in sweep]
    bodies = _Bodies()
    for node in nodes:
        bodies.add(node)
    traffic = _Traffic(sweeps, args)
    device = nodes[0].get_device()
    assert device is not None
    where = f"('inductor::{kernel.removeprefix('cpp_')}', {device.index})"
    loops = ", ".join(
        f"({_code(size)}, {each.linear}, {each.special})" for size, each in bodies.loops.items()
    )
    rows = _rows(nodes, bodies.reductions, traffic.passes())
    return f"record_fused_kernel({where}, '{bodies.format()}', [{loops}], {traffic.code()}, {rows})"


def _code(size: Any) -> str:
    """Returns Python for a size that the wrapper can evaluate when it runs."""
    plain = V.graph.sizevars.remove_precomputed_replacements(sympy.sympify(size))
    return str(V.graph.wrapper_code.codegen_python_sizevar(plain))


def _product(sizes: Any) -> sympy.Expr:
    result = sympy.S.One
    for size in sizes:
        result = result * size
    return V.graph.sizevars.simplify(result)


def _rows(nodes: list[SchedulerNode], reductions: int, passes: int) -> str:
    for node in nodes:
        if node.is_reduction():
            kept, reduced = node.get_ranges()
            return f"({_code(_product(kept))}, {_code(_product(reduced))}, {reductions}, {passes})"
    return "(0, 0, 0, 1)"


@dataclass
class _Bodies:
    """Instructions of the loop bodies, by the number of elements they run over."""

    loops: dict[sympy.Expr, Instructions] = field(default_factory=lambda: defaultdict(Instructions))
    reductions: int = 0
    dtypes: set[torch.dtype] = field(default_factory=set)

    def add(self, node: SchedulerNode) -> None:
        body = node._body
        elements = _product([size for part in node.get_ranges() for size in part])
        self.loops[elements] += self._count(body.root_block.graph, body)

    def _count(self, graph: torch.fx.Graph, body: Any) -> Instructions:
        total = Instructions()
        for step in graph.nodes:
            if step.op == "call_module" and str(step.target).startswith("masked_subblock"):
                total += instructions_of("where")
                total += self._count(body.subblocks[step.target].graph, body)
            elif step.op == "call_method":
                total += self._operation(step)
        return total

    def _operation(self, step: torch.fx.Node) -> Instructions:
        name = str(step.target)
        values = step.args[1:]  # the first is the handler
        if name == "load":
            self.dtypes.add(V.graph.get_dtype(str(values[0])))
        elif name == "store":
            self.dtypes.add(V.graph.get_dtype(str(values[0])))
        elif name == "to_dtype":
            self.dtypes.add(_argument(step, 1, "dtype"))
        elif name == "reduction":
            each, across = reduction_instructions(_argument(step, 2, "reduction_type"))
            self.reductions += across
            return each
        return instructions_of(name)

    def format(self) -> str:
        """Returns the widest format that is computed in; indices count only among themselves."""
        floating = [dtype for dtype in self.dtypes if dtype.is_floating_point]
        widest = max(floating or self.dtypes or {torch.float32}, key=lambda dtype: dtype.itemsize)
        return _FORMATS.get(widest, "fp32")


def _argument(step: torch.fx.Node, place: int, name: str) -> Any:
    """Returns an argument of an operation, given by place (without the handler) or by name."""
    values = step.args[1:]
    return values[place] if place < len(values) else step.kwargs[name]


class _Traffic:
    """Bytes that one launch moves."""

    def __init__(self, sweeps: list[list[SchedulerNode]], args: KernelArgs) -> None:
        self.pieces: list[str] = []
        self._args = args
        self._read: dict[str, dict[Any, sympy.Expr]] = defaultdict(dict)
        self._written: dict[str, dict[Any, sympy.Expr]] = defaultdict(dict)
        self._readers: dict[str, int] = defaultdict(int)
        nodes = [node for sweep in sweeps for node in sweep]
        inside = {name for node in nodes for name in node.get_buffer_names()}
        self._names = {node.get_name() for node in nodes}
        for sweep in sweeps:
            seen = set()
            for node in sweep:
                for dep in node.read_writes.reads:
                    if dep.name not in inside and _is_access(dep, node):
                        self._access(dep, self._read, scatters=False)
                        seen.add(dep.name)
                for dep in node.read_writes.writes:
                    if self._is_in_memory(dep.name) and self._leaves(dep.name):
                        self._access(dep, self._written, scatters=True)
            for name in seen:
                self._readers[name] += 1

    def passes(self) -> int:
        """Returns how many loops read the same buffer: softmax reads its row thrice."""
        return max(self._readers.values(), default=1)

    def code(self) -> str:
        """Returns Python for (bytes read, bytes written, [pieces at computed places])."""
        pieces = ", ".join(dict.fromkeys(self.pieces))
        return f"({self._total(self._read)}, {self._total(self._written)}, [{pieces}])"

    def _is_in_memory(self, name: str) -> bool:
        real = V.graph.scheduler.mutation_real_name.get(name, name)
        for table in (self._args.output_buffers, self._args.inplace_buffers):
            for key in (name, real):
                if key in table and not isinstance(table[key], RemovedArg):
                    return True
        return False

    def _leaves(self, name: str) -> bool:
        """Returns whether anything but this kernel uses a buffer.

        C++ keeps results of one loop in memory for the next; on a card they stay in its cores.
        """
        buffer = V.graph.scheduler.name_to_buf.get(name)
        if buffer is None or buffer.get_mutations():
            return True
        return any(user.get_name() not in self._names for user in buffer.users)

    def _access(self, dep: Any, table: dict[str, dict[Any, sympy.Expr]], scatters: bool) -> None:
        if isinstance(dep, MemoryDep) and (dep.is_indirect() or dep.mode is not None):
            self.pieces.append(_piece(dep, scatters))
        else:
            table[dep.name][getattr(dep, "index", None) if isinstance(dep, MemoryDep) else None] = (
                dep.get_numel()
            )

    @staticmethod
    def _total(table: dict[str, dict[Any, sympy.Expr]]) -> str:
        total = sympy.S.Zero
        for name, accesses in table.items():
            reached = sympy.Add(*accesses.values())
            elements = sympy.Min(reached, V.graph.get_numel(name))
            total += elements * V.graph.get_dtype(name).itemsize
        return _code(V.graph.sizevars.simplify(total))


def _is_access(dep: Any, node: SchedulerNode) -> bool:
    """Returns whether a dependency is a read, and not only an order of nodes."""
    if isinstance(dep, MemoryDep):
        return True
    # A search reads all boundaries; other dependencies on whole buffers say who mutates them.
    return isinstance(dep, StarDep) and bool(node._body.has_op("bucketize"))


def _piece(dep: MemoryDep, scatters: bool) -> str:
    """Returns (bytes, bytes of a contiguous piece, bytes of the table, scatters, adds)."""
    item = V.graph.get_dtype(dep.name).itemsize
    run = sympy.S.One
    grows = True
    while grows:
        grows = False
        for variable, size in zip(dep.var_names, dep.size, strict=True):
            if dep.index.coeff(variable) == run and size != 1:
                run *= size
                grows = True
    moved = _product(dep.size) * item
    table = V.graph.get_numel(dep.name) * item
    adds = dep.mode == "atomic_add"
    return f"({_code(moved)}, {_code(run * item)}, {_code(table)}, {scatters}, {adds})"
