"""Writes the package's table of measurements from a file of published rows.

python scripts/make_measurements.py published.csv
"""

import csv
import sys
from pathlib import Path

from torch_npu_sim.validation.case import COLUMNS, Case, inputs_of
from torch_npu_sim.validation.run import read_cases, table_path
from torch_npu_sim.works.registry import NotExpressibleError, describe_call


def main() -> None:
    """Keeps every row that the model can be asked about, and says what it leaves out."""
    cases, skipped = read_cases(Path(sys.argv[1]))
    kept = [case for case in cases if is_expressible(case)]
    rows = [case.row() for case in kept]
    with table_path().open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} rows written, {len(skipped) + len(cases) - len(kept)} left out")


def is_expressible(case: Case) -> bool:
    """Whether the model can be asked about a row."""
    try:
        return bool(describe_call(case.operator, inputs_of(case), case.attributes))
    except NotExpressibleError:
        return False


if __name__ == "__main__":
    main()
