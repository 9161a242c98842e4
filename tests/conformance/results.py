"""The result file: one JSON line an item, appended as results come in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tests.conformance.items import Result


def read_results(path: Path) -> list[Result]:
    """The results in a file, the last one of each item; none if there is no file."""
    return list({result.item: result for result in _lines(path)}.values())


def _lines(path: Path) -> Iterator[Result]:
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield Result.from_json(json.loads(line))
        except ValueError:  # a run was ended in the middle of a line
            continue


def write_result(file: TextIO, result: Result) -> None:
    """Appends one result, at once on disk."""
    file.write(json.dumps(result.to_json()) + "\n")
    file.flush()
