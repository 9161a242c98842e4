"""Writes what reports say of kernels like theirs: errors by chip and kind of kernel."""

import csv
from collections.abc import Sequence
from pathlib import Path

from torch_npu_sim.report.accuracy import accuracy_path
from torch_npu_sim.validation.run import Result
from torch_npu_sim.validation.statistics import group, summarize

__all__ = ["write_accuracy"]


def write_accuracy(results: Sequence[Result], path: Path | None = None) -> Path:
    """Writes the table from rows that are one kernel on an unchanged preset; returns its path."""
    path = path or accuracy_path()
    measured = [
        result
        for result in results
        if result.case.single_kernel
        and result.case.quantity == "duration"
        and not result.case.overrides
        and len(result.simulated.kinds) == 1
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["chip", "kind", "rows", "median", "p90", "bias"])
        for (chip, kind), rows in group(measured, _kernel).items():
            found = summarize(result.error for result in rows)
            numbers = [f"{value:.4f}" for value in (found.median, found.p90, found.bias)]
            writer.writerow([chip, kind, found.count, *numbers])
    return path


def _kernel(result: Result) -> tuple[str, ...]:
    return result.case.chip, result.simulated.kinds[0]
