"""How far simulated times are from measured ones, over many rows."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch_npu_sim.validation.run import Result

__all__ = ["Summary", "group", "summarize"]


@dataclass(frozen=True)
class Summary:
    """Of relative errors e = simulated / measured - 1."""

    count: int
    median: float  # of |e|
    p90: float  # of |e|, nearest rank
    bias: float  # mean of e


def summarize(errors: Iterable[float]) -> Summary:
    """Returns the summary of the errors; of none, NaN."""
    signed = list(errors)
    if not signed:
        return Summary(0, math.nan, math.nan, math.nan)
    sizes = sorted(abs(error) for error in signed)
    rank = max(math.ceil(0.9 * len(sizes)) - 1, 0)
    return Summary(len(signed), statistics.median(sizes), sizes[rank], statistics.fmean(signed))


def group(
    results: Sequence[Result], key: Callable[[Result], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Result]]:
    """Returns the results by key, in the order of the keys."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return dict(sorted(groups.items()))
