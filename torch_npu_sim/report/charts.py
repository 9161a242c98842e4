"""The drawings of a report: roofline and memory. Colours are the page's, light and dark."""

import math
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


def roofline_svg(rows: list[KernelRow]) -> str:
    """Draws arithmetic rate over intensity, with the chip's peaks; a point is a row of kernels.

    Intensity is FLOP a byte that a kernel reads or writes. A point above the slope of device memory
    had some of its bytes in L2, whose own slope is dashed.
    """
    chip = {name: value for name, value, _, _ in _C.chip_parameters()}
    bandwidth = chip["hibl_bytes_per_s"]
    roofs = [(name, chip[key]) for name, key in _ROOFS if chip.get(key, 0) > 0]
    highest = max(peak for _, peak in roofs)
    points = [(row, *_place(row)) for row in rows if row.flops > 0 and row.total_us > 0]
    low_x, high_x = -3, math.ceil(math.log10(highest / bandwidth)) + 2
    low_y = min([8, *(math.floor(math.log10(rate)) for _, _, rate in points)])
    high_y = math.ceil(math.log10(highest))
    height, width = 380, _WIDTH - _LEFT - 80

    def at_x(intensity: float) -> float:
        place = min(max(math.log10(intensity), low_x), high_x) if intensity > 0 else low_x
        return _LEFT + (place - low_x) / (high_x - low_x) * width

    def at_y(rate: float) -> float:
        place = min(max(math.log10(rate), low_y), high_y)
        return _TOP + height - (place - low_y) / (high_y - low_y) * height

    parts = []
    for power in range(low_x, high_x + 1):
        x = at_x(10.0**power)
        parts.append(draw_line(x, _TOP, x, _TOP + height, "var(--line)"))
        parts.append(draw_text(x, _TOP + height + 18, f"{10.0**power:g}"))
    for power in range(low_y, high_y + 1):
        y = at_y(10.0**power)
        parts.append(draw_line(_LEFT, y, _LEFT + width, y, "var(--line)"))
        parts.append(draw_text(_LEFT - 8, y + 4, with_unit(10.0**power, "FLOP/s"), "end", 11))
    slope_end = highest / bandwidth
    start = max(10.0**low_x, 10.0**low_y / bandwidth)
    parts.append(
        draw_line(
            at_x(start), at_y(start * bandwidth), at_x(slope_end), at_y(highest), "var(--ink)"
        )
    )
    for name, peak in roofs:
        x, y = at_x(peak / bandwidth), at_y(peak)
        parts.append(draw_line(x, y, _LEFT + width, y, "var(--ink)"))
        parts.append(draw_text(_LEFT + width + 6, y + 4, name, "start", 11))
    most = max((row.total_us for row, _, _ in points), default=1.0)
    for row, intensity, rate in reversed(points):
        radius = 3 + 9 * math.sqrt(row.total_us / most)
        label = (
            f"{row.op}, {row.work}: {with_unit(rate, 'FLOP/s')}, "
            f"{row.calls} kernels, {row.total_us:.3f} us"
        )
        parts.append(
            f'<circle cx="{at_x(intensity):.1f}" cy="{at_y(rate):.1f}" r="{radius:.1f}" '
            f'fill="{family_colour(row.family)}" fill-opacity="0.65" stroke="var(--paper)">'
            f"<title>{escape(label)}</title></circle>"
        )
    axis = "FLOP a byte read or written"
    parts.append(draw_text(_LEFT + width / 2, _TOP + height + 38, axis))
    return _drawing(_TOP + height + 48, parts)


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
