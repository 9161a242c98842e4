"""Counts over a result file: the table at the end of a run, and docs/conformance.json."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.conformance.checks import all_items
from tests.conformance.items import Result
from tests.conformance.results import Session
from tests.conformance.skips import SKIPS, skip_of

RESULTS = ("passed", "failed", "skipped", "cpu_refuses")


def grouped(results: Iterable[Result], key: Callable[[Result], Any]) -> dict[Any, list[Result]]:
    """The results by a key, in order of appearance."""
    groups: dict[Any, list[Result]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    return dict(groups)


def counts(results: Sequence[Result]) -> dict[str, Any]:
    """How many items ended how, how many samples were compared, and their seconds."""
    ended = Counter(result.result for result in results)
    return {
        **{name: ended[name] for name in RESULTS},
        "samples": sum(result.samples for result in results),
        "refused_samples": sum(result.refused for result in results),
        "seconds": round(sum(result.seconds for result in results), 1),
    }


def summarise(
    results: Sequence[Result], sessions: Sequence[Session], quick: Sequence[Session]
) -> dict[str, Any]:
    """The content of docs/conformance.json.

    A run may have been interrupted and resumed: its wall time is that of all sessions, the rest is
    said of the last one. `quick` are the sessions of the quick set alone.
    """
    last = sessions[-1]
    groups = grouped(results, lambda r: (r.item.database, r.item.check, r.item.dtype))
    failed = [result for result in results if result.result == "failed"]
    return {
        "command": last.command,
        "commit": last.commit,
        "torch": last.torch,
        "jobs": last.jobs,
        "wall_seconds": round(sum(one.wall_s for one in sessions), 1),
        "quick_wall_seconds": round(sum(one.wall_s for one in quick), 1) if quick else None,
        "items": len(results),
        "all_items": len(all_items()),
        "total": counts(results),
        "groups": [
            {"database": database, "check": check, "dtype": dtype, **counts(groups[key])}
            for key in sorted(groups)
            for database, check, dtype in [key]
        ],
        "failures": [{"item": one.item.id, "message": one.message} for one in failed],
        "skips": _skips(results),
    }


def _skips(results: Sequence[Result]) -> list[dict[str, Any]]:
    used = Counter(skip_of(result.item) for result in results if result.result == "skipped")
    return [
        {"items": skip.pattern, "reason": skip.reason, "source": skip.source, "count": used[skip]}
        for skip in SKIPS
    ]


def show(console: Console, results: Sequence[Result]) -> None:
    """Prints the table of a run, and the first words of each failure."""
    table = Table("database", "check", *RESULTS, "samples", "seconds")
    for (database, check), group in grouped(
        results, lambda r: (r.item.database, r.item.check)
    ).items():
        told = counts(group)
        numbers = [str(told[name]) for name in (*RESULTS, "samples")]
        table.add_row(database, check, *numbers, f"{told['seconds']:.0f}")
    console.print(table)
    for result in results:
        if result.result == "failed":
            first = result.message.splitlines()[0] if result.message else ""
            console.print(f"failed: {result.item.id}: {first[:300]}", markup=False, highlight=False)
