"""The command: `python -m tests.conformance run`, and `report`."""

import json
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.conformance import summary
from tests.conformance.checks import all_items
from tests.conformance.items import ANY_DTYPE, Item
from tests.conformance.page import page
from tests.conformance.pool import run_all
from tests.conformance.results import (
    ROOT,
    read_results,
    read_sessions,
    session,
    write_result,
    write_session,
)

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)
console = Console()

QUICK_DTYPES = {"float32", "bfloat16", "complex64"}
QUICK_CHECKS = {
    "op_db": {"forward", "backward"},
    "module_db": {"forward", "backward", "moves"},
    "optim_db": {"steps"},
}


def selected(
    only: Sequence[str], checks: Sequence[str], dtypes: Sequence[str], databases: Sequence[str]
) -> list[Item]:
    """The items that match every list that is not empty; names may hold * and ?."""

    def matches(value: str, patterns: Sequence[str]) -> bool:
        return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)

    return [
        item
        for item in all_items()
        if matches(item.name, only)
        and matches(item.check, checks)
        and matches(item.dtype, [*dtypes, ANY_DTYPE] if dtypes else [])
        and matches(item.database, databases)
    ]


def is_quick(item: Item) -> bool:
    """Whether an item belongs to the quick set, which `make test` runs."""
    return item.dtype in QUICK_DTYPES and item.check in QUICK_CHECKS.get(item.database, set())


Many = list[str] | None
RESULT_FILE = ROOT / "build" / "conformance.jsonl"
QUICK_FILE = ROOT / "build" / "conformance_quick.jsonl"


@app.command()
def run(
    only: Annotated[Many, typer.Option(help="Names of entries, * and ? allowed.")] = None,
    check: Annotated[Many, typer.Option(help="Checks.")] = None,
    dtype: Annotated[Many, typer.Option(help="Dtypes, as float32.")] = None,
    database: Annotated[Many, typer.Option(help="op_db, foreach_db, module_db, optim_db.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the quick set.")] = False,
    jobs: Annotated[int, typer.Option(help="Worker processes.")] = 2,
    timeout: Annotated[float, typer.Option(help="Seconds an item may take.")] = 300,
    out: Annotated[Path | None, typer.Option(help="The result file; one in build/.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Start anew.")] = False,
) -> None:
    """Run the items that have not passed yet, and show a summary; exit code 1 if one failed."""
    start = time.monotonic()
    items = selected(only or [], check or [], dtype or [], database or [])
    items = [item for item in items if is_quick(item)] if quick else items
    out = out or (QUICK_FILE if quick else RESULT_FILE)
    out.parent.mkdir(parents=True, exist_ok=True)
    if fresh:
        out.unlink(missing_ok=True)
    done = {result.item for result in read_results(out) if result.result != "failed"}
    with out.open("a") as file:
        try:
            _run([item for item in items if item not in done], jobs, timeout, file)
        finally:  # an interrupted session counts towards the time of the whole
            command = " ".join(["python -m tests.conformance", *sys.argv[1:]])
            write_session(file, session(command, jobs, start))
    wanted = set(items)
    results = [result for result in read_results(out) if result.item in wanted]
    summary.show(console, results)
    raise typer.Exit(any(result.result == "failed" for result in results))


def _run(todo: list[Item], jobs: int, timeout_s: float, file: TextIO) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Drawn when a result comes in: a thread that draws would be lost in forked workers.
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        bar = progress.add_task("conformance", total=len(todo))
        failed, drawn = 0, 0.0
        for result in run_all(todo, jobs, timeout_s):
            write_result(file, result)
            failed += result.result == "failed"
            description = f"{result.item.database} {result.item.check}, {failed} failed"
            progress.update(bar, advance=1, description=description)
            if time.monotonic() - drawn > 0.5:
                progress.refresh()
                drawn = time.monotonic()
        progress.refresh()


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="The result file.")] = RESULT_FILE,
    quick: Annotated[Path, typer.Option(help="That of the quick set, for its time.")] = QUICK_FILE,
    docs: Annotated[Path, typer.Option(help="Where to write.")] = ROOT / "docs",
) -> None:
    """Write conformance.json and conformance.md from a result file."""
    if not read_sessions(results):
        raise typer.BadParameter(f"expected the result file of a run, got {results}; run first")
    told = summary.summarise(
        sorted(read_results(results), key=lambda result: result.item),
        read_sessions(results),
        read_sessions(quick),
    )
    (docs / "conformance.json").write_text(json.dumps(told, indent=1) + "\n")
    (docs / "conformance.md").write_text(page(told))
    console.print(f"{docs / 'conformance.md'}: {told['total']}")


if __name__ == "__main__":
    app()
