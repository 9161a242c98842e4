"""The drawings of a report: roofline and memory. Colours are the page's, light and dark."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from torch_npu_sim import _C
from torch_npu_sim.report.drawing import draw_line, draw_text
from torch_npu_sim.report.kernel import MemorySample
from torch_npu_sim.report.kernel_rows import FAMILIES, KernelRow
from torch_npu_sim.report.quantity import with_unit

__all__ = ["family_colour", "memory_svg", "roofline_svg"]

_WIDTH, _LEFT, _TOP = 900, 78, 14
_MIB = 2**20
_ROOFS = (
    ("fp32", "cube_fp32_flop_per_s"),
    ("16 bit", "cube_fp16_flop_per_s"),
    ("8 bit", "cube_fp8_flop_per_s"),
    ("4 bit", "cube_fp4_flop_per_s"),
)


def family_colour(family: str) -> str:
    """Returns the page's colour of what kernels keep busy."""
    return f"var(--f{FAMILIES.index(family)})"


@dataclass(frozen=True)
class _Axes:
    """Logarithmic axes: powers of ten of FLOP a byte, and of FLOP/s."""

    low_x: int
    high_x: int
    low_y: int
    high_y: int
    width: int = _WIDTH - _LEFT - 80
    height: int = 380

    def x(self, intensity: float) -> float:
        place = min(max(math.log10(intensity), self.low_x), self.high_x)
        return _LEFT + (place - self.low_x) / (self.high_x - self.low_x) * self.width

    def y(self, rate: float) -> float:
        place = min(max(math.log10(rate), self.low_y), self.high_y)
        return _TOP + self.height * (1 - (place - self.low_y) / (self.high_y - self.low_y))

    def drawn(self) -> list[str]:
        bottom, right = _TOP + self.height, _LEFT + self.width
        parts = []
        for power in range(self.low_x, self.high_x + 1):
            x = self.x(10.0**power)
            parts.append(draw_line(x, _TOP, x, bottom, "var(--line)"))
            parts.append(draw_text(x, bottom + 18, f"{10.0**power:g}"))
        for power in range(self.low_y, self.high_y + 1):
            y = self.y(10.0**power)
            parts.append(draw_line(_LEFT, y, right, y, "var(--line)"))
            parts.append(draw_text(_LEFT - 8, y + 4, with_unit(10.0**power, "FLOP/s"), "end", 11))
        label = "FLOP a byte read or written"
        return [*parts, draw_text((_LEFT + right) / 2, bottom + 38, label)]


def roofline_svg(rows: list[KernelRow]) -> str:
    """Draws arithmetic rate over intensity, with the chip's peaks; a point is a row of kernels.

    Intensity is FLOP a byte that a kernel reads or writes. A point above the slope of device memory
    had some of its bytes in L2, whose own slope is dashed.
    """
    chip = {name: value for name, value, _, _ in _C.chip_parameters()}
    highest = max(chip.get(key, 0.0) for _, key in _ROOFS)
    points = [(row, *_place(row)) for row in rows if row.flops > 0 and row.total_us > 0]
    axes = _Axes(
        low_x=-3,
        high_x=math.ceil(math.log10(highest / chip["hibl_bytes_per_s"])) + 1,
        low_y=min([8, *(math.floor(math.log10(rate)) for _, _, rate in points)]),
        high_y=math.ceil(math.log10(highest)),
    )
    parts = [*axes.drawn(), *_roofs(axes, chip, highest)]
    most = max((row.total_us for row, _, _ in points), default=1.0)
    for row, intensity, rate in reversed(points):
        radius = 3 + 9 * math.sqrt(row.total_us / most)
        label = (
            f"{row.op}, {row.work}: {with_unit(rate, 'FLOP/s')}, "
            f"{row.calls} kernels, {row.total_us:.3f} us"
        )
        parts.append(
            f'<circle cx="{axes.x(intensity):.1f}" cy="{axes.y(rate):.1f}" r="{radius:.1f}" '
            f'fill="{family_colour(row.family)}" fill-opacity="0.65" stroke="var(--paper)">'
            f"<title>{escape(label)}</title></circle>"
        )
    return _drawing(_TOP + axes.height + 48, parts)


def _roofs(axes: _Axes, chip: Mapping[str, float], highest: float) -> Iterator[str]:
    """Draws the slopes of device memory and L2, and the cube's peak in each format."""
    for name, key, dashes in (
        ("device memory", "hibl_bytes_per_s", ""),
        ("L2", "l2_bytes_per_s", 'stroke-dasharray="5 4"'),
    ):
        rate = chip[key]
        start = max(10.0**axes.low_x, 10.0**axes.low_y / rate)
        slope = axes.x(start), axes.y(start * rate), axes.x(highest / rate), axes.y(highest)
        label = f"<title>{name}, {with_unit(rate, 'B/s')}</title>"
        yield f"<g {dashes}>{label}{draw_line(*slope, 'var(--ink)')}</g>"
    right = _LEFT + axes.width
    for name, key in _ROOFS:
        if (peak := chip.get(key, 0.0)) > 0:
            y = axes.y(peak)
            yield draw_line(axes.x(peak / chip["hibl_bytes_per_s"]), y, right, y, "var(--ink)")
            yield draw_text(right + 6, y + 4, name, "start", 11)


def _place(row: KernelRow) -> tuple[float, float]:
    """Returns intensity and rate."""
    return row.flops / max(row.moved_bytes, 1), row.flops / (row.total_us * 1e-6)


def memory_svg(samples: list[MemorySample], total_us: float) -> str:
    """Draws a card's allocated (filled) and reserved memory over the host's simulated time."""
    height, width = 180, _WIDTH - _LEFT - 10
    most = max([1, *(max(s.allocated_bytes, s.reserved_bytes) for s in samples)])
    span = max(total_us, samples[-1].at_us, 1e-9)

    def path(values: list[int]) -> str:
        text, last = "", 0.0
        for sample, value in zip(samples, values, strict=True):
            x = _LEFT + min(max(sample.at_us, 0.0) / span, 1.0) * width
            y = _TOP + height - value / most * height
            text += f"M{x:.1f},{y:.1f}" if not text else f"H{x:.1f}V{y:.1f}"
            last = x
        return text + (f"H{_LEFT + width}" if last < _LEFT + width else "")

    parts = []
    for tick in range(5):
        y = _TOP + height * (1 - tick / 4)
        parts.append(draw_line(_LEFT, y, _LEFT + width, y, "var(--line)"))
        label = f"{most * tick / 4 / _MIB:,.3g} MiB"
        parts.append(draw_text(_LEFT - 8, y + 4, label, "end", 11))
    for tick in range(6):
        x = _LEFT + width * tick / 5
        anchor = "end" if tick == 5 else "middle"
        parts.append(draw_text(x, _TOP + height + 18, f"{span * tick / 5:,.4g} us", anchor))
    allocated = path([s.allocated_bytes for s in samples])
    begin = _LEFT + min(max(samples[0].at_us, 0.0) / span, 1.0) * width
    parts.append(
        f'<path d="{allocated}V{_TOP + height}H{begin:.1f}Z" fill="var(--f0)" fill-opacity="0.25"/>'
        f'<path d="{allocated}" fill="none" stroke="var(--f0)" stroke-width="1.5"/>'
        f'<path d="{path([s.reserved_bytes for s in samples])}" fill="none" '
        f'stroke="var(--soft-ink)" stroke-dasharray="4 3"/>'
    )
    return _drawing(_TOP + height + 28, parts)


def _drawing(height: float, parts: list[str]) -> str:
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img">\n{body}\n</svg>'
