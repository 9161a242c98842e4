"""The result file: JSON lines, one an item and one a session, appended as they come in."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from tests.conformance.items import Result

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Session:
    """One run of the command: what it was, on what, and how long it took."""

    command: str
    commit: str
    torch: str
    jobs: int
    wall_s: float


def commit() -> str:
    """The commit of the tree, with a + if there are changes on top; `unknown` outside of git."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def session(command: str, jobs: int, start: float) -> Session:
    """The session that began at `start` of time.monotonic()."""
    return Session(command, commit(), torch.__version__, jobs, round(time.monotonic() - start, 1))


def read_results(path: Path) -> list[Result]:
    """The results in a file, the last one of each item; none if there is no file."""
    results = (Result.from_json(line) for line in _lines(path) if "id" in line)
    return list({result.item: result for result in results}.values())


def read_sessions(path: Path) -> list[Session]:
    """The sessions that wrote the file."""
    return [Session(**line["session"]) for line in _lines(path) if "session" in line]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # a run was ended in the middle of a line
            continue


def write_result(file: TextIO, result: Result) -> None:
    """Appends one result, at once on disk."""
    file.write(json.dumps(result.to_json()) + "\n")
    file.flush()


def write_session(file: TextIO, done: Session) -> None:
    """Appends what a session was."""
    file.write(json.dumps({"session": asdict(done)}) + "\n")
