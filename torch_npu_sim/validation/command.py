"""The command `npu-sim validate`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch_npu_sim.validation.case import Case

__all__ = ["Selection", "run"]

_FILE_WIDTH = 150  # where the output is no terminal


@dataclass(frozen=True)
class Selection:
    """Which rows to validate; empty names select all."""

    chips: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    single_kernel: bool = False

    def pick(self, cases: Iterable[Case]) -> list[Case]:
        """Returns the rows that are selected."""
        return [
            case
            for case in cases
            if (not self.chips or case.chip in self.chips)
            and (not self.kinds or case.kind in self.kinds)
            and (case.single_kernel or not self.single_kernel)
        ]


def run(
    file: Path | None,
    selection: Selection,
    worst: int,
    outputs: dict[str, Path | None],
    update: bool,
) -> None:
    """Validates and prints; `outputs` names the files to write: json, csv, plot.

    With `update`, the table that reports quote measured errors from is written anew.

    Raises:
        ValueError: the file's columns are not those of measurements.
    """
    from rich.console import Console
    from rich.progress import Progress

    from torch_npu_sim.validation.accuracy_table import write_accuracy
    from torch_npu_sim.validation.report import (
        kind_table,
        skipped_table,
        worst_table,
        write_csv,
        write_json,
        write_plot,
    )
    from torch_npu_sim.validation.run import Validation, read_cases, validate

    cases, unread = read_cases(file)
    picked = selection.pick(cases)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_WIDTH)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("simulating", total=len(picked))
        found = validate(picked, lambda: progress.advance(task))
    validation = Validation(found.results, [*unread, *found.skipped])
    if validation.results:
        console.print(kind_table(validation.results))
        if worst > 0:
            console.print(worst_table(validation.results, worst))
    if validation.skipped:
        console.print(skipped_table(validation.skipped))
    if update:
        console.print(f"written      {write_accuracy(validation.results)}")
    writers = {"json": write_json, "csv": write_csv, "plot": write_plot}
    for name, path in outputs.items():
        if path is not None:
            writers[name](validation, path)
            console.print(f"written      {path}")
