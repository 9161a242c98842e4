"""Writes the package's table of measurements from a file of published rows.

python scripts/make_measurements.py published.csv
"""

import csv
import sys
from pathlib import Path

from torch_npu_sim.validation.case import COLUMNS
from torch_npu_sim.validation.run import read_cases, table_path, validate


def main() -> None:
    """Keeps every row that the model can be asked about, and says what it leaves out."""
    cases, skipped = read_cases(Path(sys.argv[1]))
    validation = validate(cases)
    rows = [result.case.row() for result in validation.results]
    with table_path().open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} rows written, {len(skipped) + len(validation.skipped)} left out")


if __name__ == "__main__":
    main()
