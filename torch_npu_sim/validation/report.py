"""The validation as tables, JSON and CSV."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_npu_sim.report.drawing import Point, scatter_svg, write_drawing
from torch_npu_sim.validation.run import Result, Skipped, Validation
from torch_npu_sim.validation.statistics import group, summarize

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "kind_table",
    "plain",
    "skipped_table",
    "worst_table",
    "write_csv",
    "write_json",
    "write_plot",
]


def kind_of(result: Result) -> tuple[str, ...]:
    """Returns (chip, kind) of a row, as the tables group them."""
    case = result.case
    quantity = "" if case.quantity == "duration" else f" {case.quantity}"
    return case.chip, case.kind + quantity


def kind_table(results: Sequence[Result]) -> "Table":
    """Returns errors by chip and kind, beside those of the baseline."""
    from rich.table import Table

    title = "Simulated against measured; base is plain roofline + 5 us"
    table = Table(title=title, title_justify="left")
    for name in ("chip", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("n", "median", "p90", "bias", "base median", "base p90", "base bias"):
        table.add_column(name, justify="right")
    chips = group(results, lambda result: (result.case.chip,))
    for (chip,), of_chip in chips.items():
        for (_, kind), rows in group(of_chip, kind_of).items():
            table.add_row(chip, kind, *_cells(rows))
        durations = [r for r in of_chip if r.case.quantity == "duration"]
        table.add_row(chip, "all durations", *_cells(durations), end_section=True)
    return table


def worst_table(results: Sequence[Result], count: int) -> "Table":
    """Returns the rows that are farthest off."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Farthest off", title_justify="left")
    for name in ("chip", "kind", "case"):
        table.add_column(name, overflow="fold")
    for name in ("measured", "simulated", "error"):
        table.add_column(name, justify="right")
    worst = sorted(results, key=lambda result: -abs(result.error))[:count]
    for result in worst:
        chip, kind = kind_of(result)
        unit = result.case.unit
        table.add_row(
            chip,
            kind,
            escape(label(result)),
            f"{result.case.value:.2f} {unit}",
            f"{result.value:.2f} {unit}",
            f"{result.error:+.1%}",
        )
    return table


def skipped_table(skipped: Sequence[Skipped]) -> "Table":
    """Returns how many rows are not expressible, by reason."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"Not expressible: {len(skipped)} rows", title_justify="left")
    table.add_column("rows", justify="right")
    for name in ("device", "kind", "reason"):
        table.add_column(name, overflow="fold")
    counts = Counter((row.device, row.kind, row.reason) for row in skipped)
    for (device, kind, reason), rows in sorted(counts.items()):
        table.add_row(str(rows), device, kind, escape(reason))
    return table


def label(result: Result) -> str:
    """Returns a short text of the case: its published name and what runs."""
    case = result.case
    kernels = result.simulated.kernels
    more = f" + {len(kernels) - 1} kernels" if len(kernels) > 1 else ""
    return f"{case.label}  [{kernels[0].split(': ', 1)[1]}{more}]"


def plain(validation: Validation) -> dict[str, Any]:
    """Returns summaries and rows as plain data."""
    summaries = []
    for (chip, kind), rows in group(validation.results, kind_of).items():
        summary = summarize(result.error for result in rows)
        summaries.append({"chip": chip, "kind": kind} | vars(summary))
    return {
        "summaries": summaries,
        "rows": [_row(result) for result in validation.results],
        "not_expressible": [vars(row) for row in validation.skipped],
    }


def write_json(validation: Validation, path: Path) -> None:
    """Writes summaries and rows."""
    path.write_text(json.dumps(plain(validation), indent=1) + "\n", encoding="utf-8")


def write_csv(validation: Validation, path: Path) -> None:
    """Writes one line a row."""
    rows = [_row(result) for result in validation.results]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["source"])
        writer.writeheader()
        writer.writerows(rows)


def write_plot(validation: Validation, path: Path) -> None:
    """Draws simulated against measured durations, a colour a kind of kernel."""
    points = [
        Point(result.case.kind, result.case.value, result.value, label(result))
        for result in validation.results
        if result.case.quantity == "duration"
    ]
    chips = sorted({result.case.chip for result in validation.results})
    rows = f"{len(points)} published kernel times"
    write_drawing(scatter_svg(points, f"{', '.join(chips)}: {rows}"), path)


def _row(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "source": case.source,
        "chip": case.chip,
        "kind": case.kind,
        "case": case.label,
        "operator": case.operator,
        "quantity": case.quantity,
        "single_kernel": case.single_kernel,
        "measured": case.value,
        "simulated": result.value,
        "unit": case.unit,
        "error": result.error,
        "baseline_error": result.baseline_error,
        "kernels": "; ".join(result.simulated.kernels),
    }


def _cells(results: Sequence[Result]) -> list[str]:
    model = summarize(result.error for result in results)
    errors = [result.baseline_error for result in results]
    baseline = summarize(error for error in errors if error is not None)
    cells = [str(model.count)]
    for summary in (model, baseline):
        if summary.count == 0:
            cells += ["", "", ""]
        else:
            cells += [f"{summary.median:.1%}", f"{summary.p90:.1%}", f"{summary.bias:+.1%}"]
    return cells
