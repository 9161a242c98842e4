"""The report of a trace as text."""

import io
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch_npu_sim import _C
from torch_npu_sim.report.accuracy import accuracy_of

if TYPE_CHECKING:
    from rich.table import Table

    from torch_npu_sim.report.kernel import Kernel
    from torch_npu_sim.report.trace import Trace

__all__ = ["OpTotal", "calibrated_error", "format_report", "op_totals", "provenance_shares"]

_WIDTH = 110
# Provenances that a reader must know by operator, with what they say of it.
_DOUBTFUL = {
    "undescribed": "timed by their bytes alone, as nobody has described them",
    "host-fallback": "timed as work of the host, as the card lacks them",
}


@dataclass
class OpTotal:
    """Everything one operator launched."""

    op: str
    calls: int = 0  # kernels
    total_us: float = 0.0
    bounds: dict[str, float] = field(default_factory=dict)  # bound -> us

    @property
    def bound(self) -> str:
        """What bounds most of its time."""
        return max(self.bounds, key=lambda name: self.bounds[name])

    def add(self, kernel: "Kernel") -> None:
        """Counts a kernel."""
        self.calls += 1
        self.total_us += kernel.duration_us
        self.bounds[kernel.bound] = self.bounds.get(kernel.bound, 0.0) + kernel.duration_us


def op_totals(kernels: "list[Kernel]") -> list[OpTotal]:
    """Returns the totals by operator, the costliest first, equal ones by name."""
    totals: dict[str, OpTotal] = {}
    for kernel in kernels:
        totals.setdefault(kernel.op, OpTotal(kernel.op)).add(kernel)
    return sorted(totals.values(), key=lambda total: (-total.total_us, total.op))


def provenance_shares(kernels: "list[Kernel]") -> dict[str, float]:
    """Returns what share of the kernels' time rests on which kind of figure; they add up to 1."""
    times: defaultdict[str, float] = defaultdict(float)
    for kernel in kernels:
        times[kernel.provenance] += kernel.duration_us
    whole = sum(times.values())
    ordered = sorted(times.items(), key=lambda item: (-item[1], item[0]))
    return {name: time / whole for name, time in ordered if whole > 0}


def calibrated_error(kernels: "list[Kernel]", chip: str) -> float | None:
    """Returns the median measured error of the calibrated kernels, weighted by their time."""
    weighted = whole = 0.0
    for kernel in kernels:
        accuracy = accuracy_of(chip, kernel.name)
        if kernel.provenance == "calibrated" and accuracy is not None:
            weighted += accuracy.median * kernel.duration_us
            whole += kernel.duration_us
    return weighted / whole if whole > 0 else None


def format_time(us: float) -> str:
    """Returns a simulated time in the unit that suits it."""
    if us >= 1e6:
        return f"{us / 1e6:.3f} s"
    if us >= 1e3:
        return f"{us / 1e3:.3f} ms"
    return f"{us:.3f} us"


def _op_table(totals: list[OpTotal], whole_us: float, top: int | None) -> "Table":
    from rich.table import Table  # here, because importing the package must stay fast

    table = Table(title="Simulated time by operator", title_justify="left")
    table.add_column("operator", no_wrap=True)
    for header in ("kernels", "total", "share"):
        table.add_column(header, justify="right")
    table.add_column("bound by")
    shown = totals if top is None else totals[:top]
    for total in shown:
        share = total.total_us / whole_us if whole_us > 0 else 0.0
        table.add_row(
            total.op, str(total.calls), format_time(total.total_us), f"{share:.1%}", total.bound
        )
    if len(shown) < len(totals):
        rest_us = sum(total.total_us for total in totals[len(shown) :])
        calls = sum(total.calls for total in totals[len(shown) :])
        table.add_row(
            f"{len(totals) - len(shown)} more",
            str(calls),
            format_time(rest_us),
            f"{rest_us / whole_us if whole_us > 0 else 0.0:.1%}",
            "",
        )
    return table


def _peak_memory(trace: "Trace") -> str:
    peaks: dict[int, int] = {}
    for sample in trace.memory:
        peaks[sample.device] = max(peaks.get(sample.device, 0), sample.allocated_bytes)
    if not peaks:
        return "no memory was allocated or freed"
    return ", ".join(f"npu:{device} {peak / 2**20:.1f} MiB" for device, peak in peaks.items())


def format_report(trace: "Trace", top: int | None) -> str:
    """Returns the table by operator with the totals below it.

    Args:
        trace: a trace that has ended.
        top: how many operators to list; all if None.
    """
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, color_system=None)
    console.print(_op_table(op_totals(trace.kernels), trace.device_us, top))
    chip = _C.chip()["name"]
    console.print(f"chip         {chip}")
    console.print(
        f"total        {format_time(trace.total_us)}  (host {format_time(trace.host_us)}, "
        f"kernels {format_time(trace.device_us)} in {len(trace.kernels)})"
    )
    console.print(f"energy       {trace.energy_j:.6g} J")
    console.print(f"peak memory  {_peak_memory(trace)}")
    shares = provenance_shares(trace.kernels)
    resting = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    console.print(f"figures from {resting or 'nothing: no kernel ran'}")
    if (error := calibrated_error(trace.kernels, chip)) is not None:
        console.print(
            f"measured     kernels like the calibrated ones are {error:.1%} off in the median"
        )
    for provenance, meaning in _DOUBTFUL.items():
        ops = sorted({k.op for k in trace.kernels if k.provenance == provenance})
        if ops:
            console.print(f"{meaning}: {', '.join(ops)}", highlight=False)
    return text.getvalue().rstrip("\n")
