"""Rows in, results out: every row is either compared or said to be not expressible."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch_npu_sim import _C
from torch_npu_sim.validation.case import COLUMNS, Case
from torch_npu_sim.validation.published import case_of, read_published
from torch_npu_sim.validation.simulation import Simulated, simulate
from torch_npu_sim.works.registry import NotExpressibleError

__all__ = ["Result", "Skipped", "Validation", "read_cases", "table_path", "validate"]

# What a user would estimate without a simulator: the slower of arithmetic and bytes, and 5 us.
_BASELINE_US = 5.0


@dataclass(frozen=True)
class Result:
    """A measurement and what the model says."""

    case: Case
    simulated: Simulated
    value: float  # simulated, in the case's unit
    baseline: float | None  # plain roofline + 5 us; None where it says nothing of the quantity

    @property
    def error(self) -> float:
        """Simulated over measured, less one."""
        return self.value / self.case.value - 1

    @property
    def baseline_error(self) -> float | None:
        """Baseline over measured, less one."""
        return None if self.baseline is None else self.baseline / self.case.value - 1


@dataclass(frozen=True)
class Skipped:
    """A row that the model cannot be asked about, and why."""

    device: str
    kind: str
    setup: str
    reason: str


@dataclass(frozen=True)
class Validation:
    """All rows of a table."""

    results: list[Result]
    skipped: list[Skipped]


def table_path() -> Path:
    """Returns the path of the measurements that ship with the package."""
    return Path(__file__).with_name("measurements.csv")


def read_cases(path: Path | None) -> tuple[list[Case], list[Skipped]]:
    """Reads the shipped table, or a file in its columns or in those of published rows.

    Raises:
        ValueError: the columns are neither.
    """
    path = path or table_path()
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if set(COLUMNS) <= set(reader.fieldnames or ()):
            return [Case.from_row(row) for row in reader], []
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for row in read_published(path):
        try:
            cases.append(case_of(row))
        except NotExpressibleError as error:
            skipped.append(Skipped(row["device"], row["kind"], row["setup"], str(error)))
    return cases, skipped


def validate(cases: Iterable[Case], progress: Callable[[], None] | None = None) -> Validation:
    """Simulates every case on its own chip; the cards are the chip in use again afterwards."""
    results: list[Result] = []
    skipped: list[Skipped] = []
    known: dict[tuple[object, ...], Simulated] = {}
    before = _C.chip()["name"]
    try:
        for case in cases:
            try:
                simulated = known.get(_key(case)) or simulate(case)
                known[_key(case)] = simulated
                results.append(_compare(case, simulated))
            except NotExpressibleError as error:
                skipped.append(Skipped(case.device, case.kind, case.label, str(error)))
            if progress is not None:
                progress()
    finally:
        _C.set_chip(before, {}, "")
    return Validation(results, skipped)


def _key(case: Case) -> tuple[object, ...]:
    """Rows of one run (its duration and its pipes) are simulated once."""
    run = (case.operator, case.shapes, case.dtypes, case.attributes, case.overrides)
    return case.chip, case.cold, repr(run)


def _compare(case: Case, simulated: Simulated) -> Result:
    baseline = simulated.roofline_us + _BASELINE_US if case.quantity == "duration" else None
    return Result(case, simulated, simulated.quantity(case.quantity), baseline)
