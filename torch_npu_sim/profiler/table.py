"""CSV files as the vendor writes them."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["NOT_AVAILABLE", "fixed", "timestamp", "write_table"]

# What the simulator does not know, or the vendor's counter has no equal here.
NOT_AVAILABLE = "N/A"

_NS_PER_US = 1000

Row = Mapping[str, Any]


def timestamp(ns: int) -> str:
    """Returns nanoseconds as microseconds with three digits, exact where a float is not."""
    return f"{ns // _NS_PER_US}.{ns % _NS_PER_US:03d}"


def fixed(value: float) -> str:
    """Returns a number with three digits after the point."""
    return f"{value:.3f}"


def write_table(path: Path, headers: Sequence[str], rows: Iterable[Row]) -> None:
    """Writes rows under headers, what a row lacks as N/A; without rows there is no file."""
    written = list(rows)
    if not written:
        return
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, headers, restval=NOT_AVAILABLE, extrasaction="raise")
        writer.writeheader()
        writer.writerows(written)
