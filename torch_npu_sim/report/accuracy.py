"""How far the model is from published measurements, by chip and kind of kernel.

The table is written by `npu-sim validate --update` from kernels that were measured alone.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Accuracy", "accuracy_of", "accuracy_path", "refined_provenance"]

# Fewer rows than this say little about a kind.
_LEAST_ROWS = 3
# What no measurement of another kernel can vouch for.
_OF_ITS_OWN = ("host-fallback", "undescribed")


@dataclass(frozen=True)
class Accuracy:
    """Relative errors of a kind of kernel on a chip, simulated over measured less one."""

    rows: int
    median: float  # of the errors' sizes
    p90: float  # of the errors' sizes
    bias: float  # mean


def accuracy_path() -> Path:
    """Returns the path of the table."""
    return Path(__file__).with_name("accuracy.csv")


def accuracy_of(chip: str, kind: str) -> Accuracy | None:
    """Returns how far kernels of `kind` are from measurements on the preset `chip`, if known."""
    return _table().get((chip, kind))


def refined_provenance(provenance: str, chip: str, kind: str, fidelity: str) -> str:
    """Returns what a kernel's time rests on, measurements of its kind taken into account.

    Args:
        provenance: what the model itself says: host-fallback and undescribed stay.
        chip: the preset in use; a user's own chip has no measurements.
        kind: kind of kernel: matmul, vector ...
        fidelity: what it was timed at; the measured errors are those of the default.
    """
    if provenance in _OF_ITS_OWN:
        return provenance
    if fidelity == "roofline":
        return "roofline"
    return "calibrated" if accuracy_of(chip, kind) is not None else "micro-architectural"


@cache
def _table() -> dict[tuple[str, str], Accuracy]:
    path = accuracy_path()
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        found = {
            (row["chip"], row["kind"]): Accuracy(
                int(row["rows"]), float(row["median"]), float(row["p90"]), float(row["bias"])
            )
            for row in csv.DictReader(file)
        }
    return {key: accuracy for key, accuracy in found.items() if accuracy.rows >= _LEAST_ROWS}
