"""Walks a project and reads each of its files."""

import os
from collections.abc import Iterator
from pathlib import Path

from torch_npu_sim.migrate.findings import Finding, Kind, Report
from torch_npu_sim.migrate.module import read_module

__all__ = ["scan"]

_CUDA_SUFFIXES = {".cu", ".cuh"}
_NOT_THE_PROJECT = {"build", "dist", "node_modules", "site-packages", "venv", "__pycache__"}


def scan(root: Path) -> Report:
    """Reads a file, or all Python and CUDA files below a folder, without running any.

    Folders of environments and builds are left out, and those whose names begin with a dot.

    Raises:
        FileNotFoundError: there is no such path.
    """
    if not root.exists():
        raise FileNotFoundError(f"expected the path of a project or a file, got {root}")
    report = Report(root)
    base = root if root.is_dir() else root.parent
    for path in sorted(_sources(root)):
        name = str(path.relative_to(base))
        report.files += 1
        if path.suffix in _CUDA_SUFFIXES:
            report.findings.append(Finding(name, 1, 1, Kind.EXTENSION, path.name, _CUDA_SOURCE))
            continue
        try:
            report.findings += read_module(name, path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError, RecursionError) as error:
            report.unread[name] = f"{type(error).__name__}: {error}"
    return report


_CUDA_SOURCE = (
    "CUDA source: write it with torch operators, with operators of torch_npu, or in AscendC"
)


def _sources(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in _NOT_THE_PROJECT and not f.startswith(".")]
        for file in files:
            path = Path(folder, file)
            if path.suffix == ".py" or path.suffix in _CUDA_SUFFIXES:
                yield path
