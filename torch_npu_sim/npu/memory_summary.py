"""The table that memory_summary() returns."""

from collections.abc import Mapping
from typing import Any

__all__ = ["format_summary"]

_WIDTH = 75
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_COUNT_UNITS = ("", "K", "M")
_METRICS = ("current", "peak", "allocated", "freed")
_ROWS = (
    ("allocated_bytes", "Allocated memory"),
    ("active_bytes", "Active memory"),
    ("requested_bytes", "Requested memory"),
    ("reserved_bytes", "NPU reserved memory"),
    ("inactive_split_bytes", "Non-releasable memory"),
    ("allocation", "Allocations"),
    ("active", "Active allocs"),
    ("segment", "NPU reserved segments"),
    ("inactive_split", "Non-releasable allocs"),
)
_OVERSIZE_ROWS = (
    ("oversize_allocations", "Oversize allocations"),
    ("oversize_segments", "Oversize NPU segments"),
)


def _quantity(value: int, step: int, units: tuple[str, ...]) -> str:
    """Returns `value` in the largest unit that leaves a whole number of at most four digits."""
    scaled, unit = value, units[0]
    for larger in units[1:]:
        if abs(scaled) < 10 * step:
            break
        scaled, unit = scaled // step, larger
    return f"{scaled:6d} {unit:<3}"


def _row(stats: Mapping[str, Any], prefix: str, label: str) -> str:
    is_bytes = "_bytes" in prefix
    step, units = (1024, _BYTE_UNITS) if is_bytes else (1000, _COUNT_UNITS)
    cells = [_quantity(int(stats[f"{prefix}.{metric}"]), step, units) for metric in _METRICS]
    return f" {label:<21} | " + " | ".join(cells) + " "


def format_summary(stats: Mapping[str, Any], device: int, abbreviated: bool) -> str:
    """Returns the statistics of one card as a table.

    Args:
        stats: flat statistics, as memory_stats() returns them.
        device: the card's index, for the title.
        abbreviated: only the totals of both pools.
    """
    events = f"  NPU OOMs: {stats['num_ooms']}  |  retries: {stats['num_alloc_retries']}"
    lines = [
        "=" * _WIDTH,
        f"PyTorch NPU memory summary, device ID {device}".center(_WIDTH),
        "-" * _WIDTH,
        events.ljust(_WIDTH),
        "=" * _WIDTH,
        f"        Metric         | {'Cur Usage':<10} | {'Peak Usage':<10} | "
        f"{'Tot Alloc':<10} | {'Tot Freed':<10} ",
    ]
    for key, label in _ROWS:
        lines.append("-" * _WIDTH)
        lines.append(_row(stats, f"{key}.all", label))
        if not abbreviated:
            lines.append(_row(stats, f"{key}.large_pool", "      from large pool"))
            lines.append(_row(stats, f"{key}.small_pool", "      from small pool"))
    for key, label in _OVERSIZE_ROWS:
        lines.append("-" * _WIDTH)
        lines.append(_row(stats, key, label))
    lines.append("=" * _WIDTH)
    return "\n".join(f"|{line:<{_WIDTH}}|" for line in lines) + "\n"
