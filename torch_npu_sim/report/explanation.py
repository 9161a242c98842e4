"""Why a kernel takes its time: phases, pipes, bytes by level, and the gap to the roofline."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch_npu_sim import _C
from torch_npu_sim.report.accuracy import accuracy_of
from torch_npu_sim.report.roofline import memory_us, roofline_us

if TYPE_CHECKING:
    from torch_npu_sim.report.kernel import Kernel

__all__ = ["Explanation", "Phase", "explain"]

_WIDTH = 110


@dataclass(frozen=True)
class Phase:
    """A stretch of the kernel's time."""

    name: str
    us: float
    meaning: str


@dataclass(frozen=True)
class Explanation:
    """Why one kernel takes its time. Times are simulated microseconds."""

    text: str  # kind, shape and formats
    chip: str
    duration_us: float  # alone on the card
    bound: str
    phases: tuple[Phase, ...]  # in order; they add up to the duration
    pipes_us: Mapping[str, float]  # busy; they overlap inside the phase "pipeline"
    facts: tuple[tuple[str, float, str], ...]  # (name, value, unit): tile, waves, splits
    bytes_hit: int  # of the bytes read: L2 held them
    bytes_read: int
    bytes_written: int
    bytes_l2: int  # between L2 and the cores
    bytes_hibl_read: int
    bytes_hibl_written: int
    flops: int
    energy_j: float
    roofline_us: float  # the slower of arithmetic and bytes at peak
    gap: tuple[Phase, ...]  # what makes the rest of the duration
    provenance: str
    measured_error: float | None  # median of the kind against published measurements

    @property
    def l2_hit_rate(self) -> float:
        """Share of the bytes that the cores fetch from L2 without device memory."""
        fetched = max(self.bytes_l2 - self.bytes_written, self.bytes_read)
        return 1 - self.bytes_hibl_read / fetched if fetched > 0 else 0.0

    def __str__(self) -> str:
        """Returns the explanation as text."""
        return _format(self)


def explain(kernel: "Kernel") -> Explanation:
    """Explains a kernel of a trace, on the chip that is in use."""
    found = _C.explain(dict(kernel.fields))
    chip = {name: value for name, value, _, _ in _C.chip_parameters()}
    plan: dict[str, float] = found["plan"]
    phases = _phases(kernel, plan, chip)
    ideal = roofline_us(dict(kernel.fields))
    accuracy = accuracy_of(_C.chip()["name"], kernel.name)
    return Explanation(
        text=kernel.work,
        chip=_C.chip()["name"],
        duration_us=kernel.alone_us,
        bound=kernel.bound,
        phases=phases,
        pipes_us=kernel.pipes,
        facts=tuple(found["facts"]),
        bytes_hit=kernel.bytes_hit,
        bytes_read=kernel.bytes_read,
        bytes_written=kernel.bytes_written,
        bytes_l2=kernel.bytes_l2,
        bytes_hibl_read=kernel.bytes_hibl_read,
        bytes_hibl_written=kernel.bytes_hibl_written,
        flops=kernel.flops,
        energy_j=kernel.energy_j,
        roofline_us=ideal,
        gap=_gap(kernel, phases, ideal),
        provenance=kernel.provenance,
        measured_error=None if accuracy is None else accuracy.median,
    )


def _phases(
    kernel: "Kernel", plan: Mapping[str, float], chip: Mapping[str, float]
) -> tuple[Phase, ...]:
    phases = [
        Phase("launch", chip.get("launch_floor_ns", 0.0) * 1e-3, "least time of any kernel"),
        Phase("start", plan["start_s"] * 1e6, "kinds that start slower: cube, MIX"),
        Phase("head", plan["head_s"] * 1e6, "first fill of the pipeline"),
    ]
    after = [
        Phase("tail", plan["tail_s"] * 1e6, "last tile on its way out"),
        Phase("sync", plan["sync_s"] * 1e6, "cores that wait for each other"),
    ]
    rest = kernel.alone_us - sum(phase.us for phase in (*phases, *after))
    body = Phase("pipeline", max(rest, 0.0), "pipes overlap; the slowest decides")
    return tuple(phase for phase in (*phases, body, *after) if phase.us > 0)


def _gap(kernel: "Kernel", phases: tuple[Phase, ...], ideal: float) -> tuple[Phase, ...]:
    """What the duration holds beyond the roofline; its parts add up to the difference."""
    gap = [phase for phase in phases if phase.name != "pipeline"]
    body = sum(phase.us for phase in phases if phase.name == "pipeline")
    pipe = max(kernel.pipes, key=lambda name: kernel.pipes[name], default="")
    beyond = body - ideal
    if pipe == "hibl":
        # The roofline counts bytes that L2 absorbs or holds; the model does not send them to HiBL.
        at_peak = memory_us(kernel.bytes_hibl_read + kernel.bytes_hibl_written)
        gap.append(Phase("memory efficiency", body - at_peak, "below the peak of device memory"))
        gap.append(Phase("traffic", at_peak - ideal, "bytes fetched again, less what L2 keeps"))
    elif pipe == "cube":
        meaning = "waves of tiles that do not fill all cores, padded tiles, command overhead"
        gap.append(Phase("cube efficiency", beyond, meaning))
    elif pipe:
        gap.append(Phase(f"{pipe} bound", beyond, f"{pipe} takes longer than the roofline's limit"))
    return tuple(part for part in gap if abs(part.us) > 1e-6)


def _format(explanation: Explanation) -> str:
    from rich.console import Console
    from rich.table import Table

    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, color_system=None, highlight=False, markup=False)
    e = explanation
    console.print(f"{e.text}  on {e.chip}")
    rate = e.flops / e.duration_us * 1e-6 if e.duration_us > 0 else 0.0
    console.print(
        f"duration     {e.duration_us:.3f} us, bound by {e.bound}"
        + (f", {rate:.1f} TFLOP/s" if e.flops > 0 else "")
    )
    console.print(f"provenance   {provenance_text(e.provenance, e.measured_error)}")
    phases = Table("phase", "us", "share", "what it is", title="In time", title_justify="left")
    for phase in e.phases:
        phases.add_row(phase.name, f"{phase.us:.3f}", _share(phase.us, e), phase.meaning)
    _right(phases, 1, 2)
    console.print(phases)
    pipes = Table("pipe", "busy us", "of the kernel", title="Pipes", title_justify="left")
    for name, us in sorted(e.pipes_us.items(), key=lambda item: -item[1]):
        pipes.add_row(name, f"{us:.3f}", _share(us, e))
    _right(pipes, 1, 2)
    console.print(pipes)
    if e.facts:
        plan = Table("choice", "value", title="Plan", title_justify="left")
        for name, value, unit in e.facts:
            plan.add_row(name, f"{value:g} {unit}".rstrip())
        _right(plan, 1)
        console.print(plan)
    _print_bytes(console, e)
    gap = Table("part", "us", "what it is", title="Beyond the roofline", title_justify="left")
    gap.add_row("roofline", f"{e.roofline_us:.3f}", "the slower of arithmetic and bytes at peak")
    for part in e.gap:
        gap.add_row(part.name, f"{part.us:+.3f}", part.meaning)
    gap.add_row("duration", f"{e.duration_us:.3f}", f"{_ratio(e)} of the roofline's rate")
    _right(gap, 1)
    console.print(gap)
    watts = e.energy_j / (e.duration_us * 1e-6) if e.duration_us > 0 else 0.0
    console.print(f"energy       {e.energy_j:.6g} J, {watts:.0f} W")
    return text.getvalue().rstrip("\n")


def provenance_text(provenance: str, error: float | None) -> str:
    """Returns the provenance in words, with the measured error of its kind where there is one."""
    if provenance == "calibrated" and error is not None:
        return f"calibrated, median error of its kind {error:.1%}"
    return provenance


def _print_bytes(console: Any, e: Explanation) -> None:
    from rich.table import Table

    levels = Table("level", "read", "written", title="Bytes", title_justify="left")
    levels.add_row("kernel", _mb(e.bytes_read), _mb(e.bytes_written))
    fetched = max(e.bytes_l2 - e.bytes_written, 0)
    levels.add_row("L2 to cores", _mb(fetched), _mb(e.bytes_written))
    levels.add_row("device memory", _mb(e.bytes_hibl_read), _mb(e.bytes_hibl_written))
    _right(levels, 1, 2)
    console.print(levels)
    console.print(f"L2 answers   {e.l2_hit_rate:.1%} of what the cores fetch")


def _mb(value: int) -> str:
    return f"{value / 1e6:,.3f} MB"


def _right(table: Any, *columns: int) -> None:
    for column in columns:
        table.columns[column].justify = "right"


def _share(us: float, e: Explanation) -> str:
    return f"{us / e.duration_us:.1%}" if e.duration_us > 0 else ""


def _ratio(e: Explanation) -> str:
    return f"{e.roofline_us / e.duration_us:.1%}" if e.duration_us > 0 else "0 %"
