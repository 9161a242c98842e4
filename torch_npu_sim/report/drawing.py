"""Plots as SVG, written by ourselves: a scatter of errors and a kernel's pipeline over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from torch_npu_sim.report.explanation import Explanation

__all__ = [
    "Point",
    "draw_box",
    "draw_line",
    "draw_text",
    "pipeline_svg",
    "scatter_svg",
    "write_drawing",
]

_COLOURS = (
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951",
    "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0",
)  # fmt: skip
_FONT = 'font-family="sans-serif" font-size="12"'
_MOST_WAVES = 64  # more would be thinner than a pixel


@dataclass(frozen=True)
class Point:
    """One measurement against its simulation."""

    group: str
    measured: float
    simulated: float
    label: str


def write_drawing(svg: str, path: Path) -> None:
    """Writes a drawing as .svg, or as a page that holds it (.html).

    Raises:
        ValueError: the file's ending is neither.
    """
    if path.suffix == ".html":
        svg = f"<!doctype html>\n<meta charset='utf-8'>\n{svg}\n"
    elif path.suffix != ".svg":
        raise ValueError(f"plot {path}: expected a name that ends in .svg or .html")
    path.write_text(svg, encoding="utf-8")


def scatter_svg(points: Sequence[Point], title: str, unit: str = "us") -> str:
    """Draws simulated against measured on logarithmic axes, with lines at 0 and +-25 %."""
    size, left, top = 520, 70, 40
    values = [v for p in points for v in (p.measured, p.simulated) if v > 0]
    low = math.floor(math.log10(min(values, default=1.0)))
    high = max(math.ceil(math.log10(max(values, default=10.0))), low + 1)

    def at(value: float) -> float:
        return (math.log10(max(value, 10.0**low)) - low) / (high - low) * size

    parts = [draw_text(left, 24, title, "start", 14)]
    for power in range(low, high + 1):
        x = at(10.0**power)
        parts += [
            draw_line(left + x, top, left + x, top + size, "#ddd"),
            draw_line(left, top + size - x, left + size, top + size - x, "#ddd"),
            draw_text(left + x, top + size + 18, f"{10.0**power:g}", "middle"),
            draw_text(left - 6, top + size - x + 4, f"{10.0**power:g}", "end"),
        ]
    for factor, colour in ((1.0, "#333"), (1.25, "#bbb"), (1 / 1.25, "#bbb")):
        parts.append(_diagonal(left, top, size, math.log10(factor) / (high - low), colour))
    groups = sorted({point.group for point in points})
    for point in points:
        colour = _COLOURS[groups.index(point.group) % len(_COLOURS)]
        x, y = left + at(point.measured), top + size - at(point.simulated)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}" fill-opacity="0.7">'
            f"<title>{escape(point.label)}</title></circle>"
        )
    for i, name in enumerate(groups):
        y = top + 14 + 18 * i
        colour = _COLOURS[i % len(_COLOURS)]
        parts.append(f'<circle cx="{left + size + 20}" cy="{y - 4}" r="5" fill="{colour}"/>')
        parts.append(draw_text(left + size + 32, y, name, "start"))
    parts.append(draw_text(left + size / 2, top + size + 40, f"measured, {unit}", "middle"))
    middle = top + size / 2
    parts.append(
        f'<g transform="rotate(-90 18 {middle})">'
        + draw_text(18, middle, f"simulated, {unit}", "middle")
        + "</g>"
    )
    return _document(left + size + 190, top + size + 56, parts)


def pipeline_svg(explanation: Explanation) -> str:
    """Draws a kernel over time: its phases, and each pipe's busy time wave by wave.

    The model knows each pipe's busy time in all, not each instruction's: inside the phase
    "pipeline" a pipe's time is spread evenly over the waves.
    """
    width, left, top, step = 760, 90, 60, 34
    duration = explanation.duration_us or 1.0
    scale = width / duration
    parts = [draw_text(left, 24, f"{explanation.text}  on {explanation.chip}", "start", 14)]
    begin, start = 0.0, 0.0
    body = 0.0
    for i, phase in enumerate(explanation.phases):
        colour = _COLOURS[i % len(_COLOURS)]
        parts.append(draw_box(left + begin * scale, top, phase.us * scale, 20, colour, phase.name))
        if phase.us * scale > 44:
            parts.append(draw_text(left + (begin + phase.us / 2) * scale, top + 14, phase.name))
        if phase.name == "pipeline":
            start, body = begin, phase.us
        begin += phase.us
    parts.append(draw_text(left - 8, top + 14, "phases", "end"))
    waves = _waves(explanation)
    pipes = sorted(explanation.pipes_us.items(), key=lambda item: -item[1])
    for row, (name, busy) in enumerate(pipes, start=1):
        y = top + row * step
        parts.append(draw_text(left - 8, y + 14, name, "end"))
        parts.append(draw_line(left, y + 20, left + width, y + 20, "#eee"))
        length = min(busy, body) / waves
        for wave in range(waves):
            x = left + (start + wave * body / waves) * scale
            label = f"{name}: {busy:.3f} us busy, {busy / duration:.1%} of the kernel"
            parts.append(draw_box(x, y, max(length * scale, 0.5), 20, "#4269d0", label))
    bottom = top + (len(pipes) + 1) * step
    for tick in range(6):
        x = left + width * tick / 5
        parts.append(draw_text(x, bottom + 16, f"{duration * tick / 5:.3g}"))
    parts.append(draw_text(left + width / 2, bottom + 34, "simulated us"))
    return _document(left + width + 40, bottom + 48, parts)


def _waves(explanation: Explanation) -> int:
    for name, value, _ in explanation.facts:
        if name in ("waves", "blocks"):  # of tiles, of an attention's scores
            return min(max(math.ceil(value), 1), _MOST_WAVES)
    return 1


def _document(width: float, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" {_FONT}>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def draw_line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    """Draws a line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _diagonal(left: float, top: float, size: float, shift: float, colour: str) -> str:
    """A line of equal ratio, cut at the frame; `shift` is its offset as a share of the frame."""
    rise = max(shift, 0.0) * size
    right = max(-shift, 0.0) * size
    return draw_line(left + right, top + size - rise, left + size - rise, top + right, colour)


def draw_text(x: float, y: float, text: str, anchor: str = "middle", size: int = 12) -> str:
    """Draws words."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
        f"{escape(text)}</text>"
    )


def draw_box(x: float, y: float, width: float, height: float, colour: str, label: str) -> str:
    """Draws a box that tells its label when pointed at."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height}" fill="{colour}" '
        f'fill-opacity="0.8"><title>{escape(label)}</title></rect>'
    )
