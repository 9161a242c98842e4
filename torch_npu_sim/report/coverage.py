"""Which operators a run used, and how the card runs each."""

import io
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any

from torch_npu_sim import _C
from torch_npu_sim.report.composed_operators import COMPOSED_OPERATORS
from torch_npu_sim.report.fallback_advice import advice_for
from torch_npu_sim.report.kernel import Kernel
from torch_npu_sim.report.model_cost import alone_us
from torch_npu_sim.report.table import format_time
from torch_npu_sim.report.trace import Trace

__all__ = ["Coverage", "OperatorUse", "Support", "base_name", "coverage", "operators_of"]

_WIDTH = 110


class Support(StrEnum):
    """How the card runs an operator."""

    NATIVE = "native"  # a kernel of its own
    COMPOSITE = "composite"  # kernels of other operators
    HOST = "host fallback"  # inputs to the host, work there, results back


@dataclass(frozen=True)
class OperatorUse:
    """An operator, overloads apart, and what its kernels took."""

    op: str
    support: Support
    kernels: int
    total_us: float
    lost_us: float  # of a host fallback: beyond one pass of the card over the same bytes
    instead: str  # of a host fallback: what to use
    described: bool  # False: timed by its bytes alone


def base_name(op: str) -> str:
    """Returns an operator's name without namespace and overload: aten::add.Tensor is add."""
    return op.split("::")[-1].split(".")[0]


def operators_of(kernels: list[Kernel]) -> list[OperatorUse]:
    """Returns every operator that launched a kernel: fallbacks first, then by time."""
    by_op: dict[tuple[str, bool], list[Kernel]] = {}
    for kernel in kernels:
        by_op.setdefault((kernel.op, kernel.name == "host"), []).append(kernel)
    uses = [_use(op, on_host, found) for (op, on_host), found in by_op.items()]
    return sorted(uses, key=lambda use: (use.support is not Support.HOST, -use.total_us, use.op))


def _use(op: str, on_host: bool, kernels: list[Kernel]) -> OperatorUse:
    base = base_name(op)
    if on_host:
        support = Support.HOST
    elif op.startswith("aten::") and _is_composed(base):
        support = Support.COMPOSITE
    else:
        support = Support.NATIVE
    return OperatorUse(
        op=op,
        support=support,
        kernels=len(kernels),
        total_us=sum(kernel.duration_us for kernel in kernels),
        lost_us=_lost_us(kernels) if on_host else 0.0,
        instead=advice_for(base) if on_host else "",
        described=all(kernel.provenance != "undescribed" for kernel in kernels),
    )


# What the card's copy kernel does under every name.
_COPIES = {"_copy_from", "_to_copy", "clone", "contiguous", "copy"}


def _is_composed(base: str) -> bool:
    names = {base, base.removesuffix("_")}
    return not names & _COPIES and bool(names & COMPOSED_OPERATORS)


def _lost_us(kernels: list[Kernel]) -> float:
    """What the fallbacks take beyond a kernel that passes over the same bytes on the card."""
    least: dict[tuple[int, int], float] = {}
    lost = 0.0
    for kernel in kernels:
        moved = kernel.fields["to_host"], kernel.fields["to_device"]
        if moved not in least:
            work = {"kind": "undescribed", "read": moved[0], "written": moved[1]}
            least[moved] = alone_us([work])
        lost += max(kernel.duration_us - least[moved], 0.0)
    return lost


class Coverage:
    """Records which operators run inside a `with` block; read it after the block."""

    def __init__(self) -> None:
        """Makes a record that has not begun."""
        self.trace = Trace()
        self._operators: list[OperatorUse] | None = None

    def __enter__(self) -> "Coverage":
        """Begins to record."""
        self.trace.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the record."""
        self.trace.__exit__(kind, error, traceback)

    @property
    def operators(self) -> list[OperatorUse]:
        """The operators that launched kernels: fallbacks first, then by time."""
        if self._operators is None:
            self._operators = operators_of(self.trace.kernels)
        return self._operators

    @property
    def fallbacks(self) -> list[OperatorUse]:
        """The operators that the card left to the host, the costliest first."""
        return [use for use in self.operators if use.support is Support.HOST]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data, for JSON."""
        return {
            "chip": _C.chip()["name"],
            "counts": {
                str(support): sum(use.support is support for use in self.operators)
                for support in Support
            },
            "total_us": self.trace.total_us,
            "lost_us": sum(use.lost_us for use in self.operators),
            "operators": [asdict(use) for use in self.operators],
        }

    def table(self) -> str:
        """Returns the operators as text, and what to use instead of each fallback."""
        return _format(self)


def coverage() -> Coverage:
    """Returns a context manager that records which operators run, and how the card runs each.

    Example::

        with torch_npu_sim.coverage() as coverage:
            model(x)
        print(coverage.table())
    """
    return Coverage()


def _format(found: Coverage) -> str:
    from rich.console import Console  # here, because importing the package must stay fast
    from rich.table import Table

    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, color_system=None, highlight=False, markup=False)
    chip = _C.chip()["name"]
    table = Table("operator", "support", title=f"Operators on {chip}", title_justify="left")
    table.columns[0].overflow = "fold"
    for header in ("kernels", "total", "lost"):
        table.add_column(header, justify="right")
    for use in found.operators:
        lost = format_time(use.lost_us) if use.support is Support.HOST else ""
        support = str(use.support) if use.described else f"{use.support}, undescribed"
        table.add_row(use.op, support, str(use.kernels), format_time(use.total_us), lost)
    console.print(table)
    if not found.operators:
        console.print("no operator launched a kernel")
    for use in found.fallbacks:
        console.print(f"{use.op}: {use.instead}", soft_wrap=True)
    if found.operators and not found.fallbacks:
        console.print("no operator fell back to the host")
    return text.getvalue().rstrip("\n")
