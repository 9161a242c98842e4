"""A trace as one HTML page that needs nothing else: no network, a small script of its own."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_npu_sim import _C
from torch_npu_sim.report.charts import family_colour, memory_svg, roofline_svg
from torch_npu_sim.report.coverage import Support, operators_of
from torch_npu_sim.report.fusions import opportunities
from torch_npu_sim.report.kernel_rows import (
    FAMILIES,
    KernelRow,
    Track,
    family_of,
    kernel_rows,
    memory_steps,
)
from torch_npu_sim.report.table import calibrated_error, format_time, op_totals, provenance_shares

if TYPE_CHECKING:
    from torch_npu_sim.report.trace import Trace

__all__ = ["write_page"]

_MOST_SPANS = 20_000
_MOST_ROWS = 1_000
_MOST_POINTS = 400
_MOST_STEPS = 2_000
_MOST_FUSIONS = 200
_MOST_ENERGY = 12


def write_page(trace: "Trace", path: str | os.PathLike[str], title: str = "trace") -> None:
    """Writes the page; what is too much to show is put together or left out, and it says so."""
    from jinja2 import Environment, PackageLoader  # here: importing the package must stay fast

    environment = Environment(
        loader=PackageLoader("torch_npu_sim.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["time"] = format_time
    environment.filters["mib"] = lambda value: f"{value / 2**20:,.1f} MiB"
    text = environment.get_template("page.html").render(title=title, **_content(trace))
    Path(path).write_text(text, encoding="utf-8")


def _content(trace: "Trace") -> dict[str, Any]:
    kernels = trace.kernels
    rows = kernel_rows(kernels)
    shown = rows[:_MOST_ROWS]
    fusions = opportunities(kernels)
    operators = operators_of(kernels)
    tracks, each = Track.all_of(kernels, _MOST_SPANS)
    chip = _C.chip()
    return {
        "chip": chip,
        "trace": trace,
        "count": len(kernels),
        "families": [(name, family_colour(name)) for name in FAMILIES],
        "shares": provenance_shares(kernels),
        "error": calibrated_error(kernels, chip["name"]),
        "peaks": _peaks(trace),
        "rows": shown,
        "left_out": _left_out(rows[_MOST_ROWS:]),
        "choices": {
            name: sorted({getattr(row, name) for row in shown})
            for name in ("kind", "bound", "provenance")
        },
        "timeline": _timeline(tracks, trace.total_us),
        "each": each,
        "roofline": roofline_svg(rows[:_MOST_POINTS]),
        "points": min(_MOST_POINTS, len(rows)),
        "memory": {
            device: memory_svg(samples, trace.total_us)
            for device, samples in memory_steps(trace.memory, _MOST_STEPS).items()
        },
        "operators": operators,
        "fallbacks": [use for use in operators if use.support is Support.HOST],
        "fusions": fusions[:_MOST_FUSIONS],
        "fusions_left_out": len(fusions[_MOST_FUSIONS:]),
        "saved_us": sum(fusion.saved_us for fusion in fusions),
        "saved_host_us": sum(fusion.saved_host_us for fusion in fusions),
        "energy": _energy(trace),
    }


def _peaks(trace: "Trace") -> dict[int, int]:
    peaks: dict[int, int] = {}
    for sample in trace.memory:
        peaks[sample.device] = max(peaks.get(sample.device, 0), sample.allocated_bytes)
    return peaks


def _left_out(rows: list[KernelRow]) -> dict[str, Any] | None:
    if not rows:
        return None
    kernels = sum(row.calls for row in rows)
    return {"rows": len(rows), "kernels": kernels, "us": sum(row.total_us for row in rows)}


def _timeline(tracks: list[Track], total_us: float) -> str:
    """Returns the spans as JSON for the page's script; words stand once, in a list."""
    words: dict[str, int] = {}
    found = []
    for track in tracks:
        spans = [
            [
                round(span.start_us, 3),
                round(span.end_us - span.start_us, 3),
                FAMILIES.index(family_of(span.longest.name)),
                words.setdefault(span.longest.op, len(words)),
                words.setdefault(span.longest.work, len(words)),
                span.kernels,
                round(span.busy_us, 3),
            ]
            for span in track.spans
        ]
        found.append({"name": f"npu:{track.device} stream {track.stream}", "spans": spans})
    data = {"total": total_us, "words": list(words), "tracks": found}
    # Inside a <script> element nothing may look like its end.
    return json.dumps(data, separators=(",", ":")).replace("</", "<\\/")


def _energy(trace: "Trace") -> list[tuple[str, float, float]]:
    """Returns the operators that take most energy: name, joules, share of all."""
    joules: dict[str, float] = {total.op: 0.0 for total in op_totals(trace.kernels)}
    for kernel in trace.kernels:
        joules[kernel.op] += kernel.energy_j
    whole = trace.energy_j or 1.0
    ordered = sorted(joules.items(), key=lambda item: (-item[1], item[0]))
    return [(op, value, value / whole) for op, value in ordered[:_MOST_ENERGY]]
