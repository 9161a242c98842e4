"""operator_details.csv: each operator of the host, its own time and the card's time of its kernels.

Columns are those of Ascend/pytorch's prof_view/_operator_view_parser.py. Host times are wall time,
device times are simulated.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_npu_sim.profiler.core import is_on_core
from torch_npu_sim.profiler.recording import HostOperator, Recording, Task
from torch_npu_sim.profiler.table import fixed, write_table

__all__ = ["write_operator_details"]

_HEADERS = [
    *("Name", "Input Shapes", "Call Stack", "Host Self Duration(us)", "Host Total Duration(us)"),
    *("Device Self Duration(us)", "Device Total Duration(us)"),
    *("Device Self Duration With AICore(us)", "Device Total Duration With AICore(us)"),
]
_KINDS = ("cpu_op", "user_annotation")


@dataclass
class _Node:
    """An operator with those that it called."""

    operator: HostOperator
    tasks: list[Task]
    children: list["_Node"] = field(default_factory=list)

    @property
    def end_ns(self) -> int:
        return self.operator.start_ns + self.operator.duration_ns

    def own_us(self, *, on_core: bool) -> float:
        return sum(
            task.kernel.duration_us for task in self.tasks if is_on_core(task.kernel) or not on_core
        )

    def total_us(self, *, on_core: bool) -> float:
        below = sum(child.total_us(on_core=on_core) for child in self.children)
        return self.own_us(on_core=on_core) + below


def write_operator_details(folder: Path, recording: Recording) -> None:
    """Writes operator_details.csv, in the order in which the operators began."""
    steps = ("ProfilerStep#",)
    rows = (_row(node) for node in _nodes(recording) if not node.operator.name.startswith(steps))
    write_table(folder / "operator_details.csv", _HEADERS, rows)


def _nodes(recording: Recording) -> Iterator[_Node]:
    tasks: dict[int, list[Task]] = defaultdict(list)
    for task in recording.tasks:
        if task.operator is not None:
            tasks[task.operator.correlation].append(task)
    operators = (each for each in recording.operators if each.kind in _KINDS)
    nodes = [_Node(each, tasks.get(each.correlation, [])) for each in operators]
    nodes.sort(key=lambda node: (node.operator.start_ns, -node.operator.duration_ns))
    _nest(nodes)
    return iter(nodes)


def _nest(nodes: Iterable[_Node]) -> None:
    """Puts each operator under the innermost one of its thread that encloses it."""
    open_of: dict[int, list[_Node]] = defaultdict(list)
    for node in nodes:
        stack = open_of[node.operator.thread]
        while stack and stack[-1].end_ns < node.end_ns:
            stack.pop()
        if stack:
            stack[-1].children.append(node)
        stack.append(node)


def _row(node: _Node) -> dict[str, Any]:
    operator = node.operator
    below = sum(child.operator.duration_ns for child in node.children)
    return {
        "Name": operator.name,
        "Input Shapes": ";".join(",".join(map(str, shape)) for shape in operator.shapes),
        "Call Stack": ";\r\n".join(operator.stack),
        "Host Self Duration(us)": fixed((operator.duration_ns - below) / 1000),
        "Host Total Duration(us)": fixed(operator.duration_ns / 1000),
        "Device Self Duration(us)": fixed(node.own_us(on_core=False)),
        "Device Total Duration(us)": fixed(node.total_us(on_core=False)),
        "Device Self Duration With AICore(us)": fixed(node.own_us(on_core=True)),
        "Device Total Duration With AICore(us)": fixed(node.total_us(on_core=True)),
    }
