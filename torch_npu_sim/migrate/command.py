"""The work of `npu-sim migrate`."""

import json
from pathlib import Path

from torch_npu_sim.migrate.findings import Kind
from torch_npu_sim.migrate.page import write_page
from torch_npu_sim.migrate.project import scan
from torch_npu_sim.migrate.terminal import show

__all__ = ["run"]


def run(path: Path, every: bool, json_file: Path | None, html_file: Path | None) -> bool:
    """Reads a project, prints the report and writes the files asked for.

    Returns whether all of it moves by itself: no CUDA extension, and nothing that is not
    redirected. Operators of the host run, only slower.
    """
    report = scan(path)
    show(report, every)
    if json_file is not None:
        json_file.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    if html_file is not None:
        write_page(report, html_file)
    counts = report.counts()
    return counts[Kind.EXTENSION] == counts[Kind.NOT_REDIRECTED] == 0
