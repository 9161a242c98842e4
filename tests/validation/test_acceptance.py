"""How far simulated times may be from published ones.

Each limit is a goal of the project; docs/validation.md has the results.
"""

from collections.abc import Callable

import pytest

from torch_npu_sim.validation.run import Result, read_cases, validate
from torch_npu_sim.validation.statistics import Summary, summarize

Selection = Callable[[Result], bool]
Measure = Callable[[Summary], float]

MEDIAN: Measure = lambda summary: summary.median  # noqa: E731
P90: Measure = lambda summary: summary.p90  # noqa: E731
BIAS: Measure = lambda summary: abs(summary.bias)  # noqa: E731


def single(chip: str, *kinds: str) -> Selection:
    """Durations of rows that are one kernel on the card, of some kinds or of all."""
    return lambda result: (
        result.case.single_kernel
        and result.case.quantity == "duration"
        and result.case.chip == chip
        and (not kinds or result.case.kind in kinds)
    )


def pipe(chip: str, quantity: str) -> Selection:
    """One pipe of the tables that state each pipe's time."""
    return lambda result: (
        result.case.kind == "gemm_pipe"
        and result.case.chip == chip
        and result.case.quantity == quantity
    )


KINDS = ("attention", "gemm", "irregular", "mla", "moe", "norm_reduce", "quant", "vector")
PIPES = ("duration", "cube", "mte1", "mte2", "fixpipe")
GOALS: dict[str, tuple[Selection, Measure, float]] = {
    "950PR median": (single("ascend950pr"), MEDIAN, 0.10),
    "950PR p90": (single("ascend950pr"), P90, 0.25),
    "950PR bias": (single("ascend950pr"), BIAS, 0.05),
    **{f"950PR {kind}": (single("ascend950pr", kind), MEDIAN, 0.15) for kind in KINDS},
    **{f"950PR pipe {name}": (pipe("ascend950pr_128g", name), MEDIAN, 0.10) for name in PIPES},
    **{f"A2 pipe {name}": (pipe("ascend910b2", name), MEDIAN, 0.10) for name in PIPES},
    "950PR copy": (single("ascend950pr_128g", "copy"), MEDIAN, 0.10),
    "A2 copy": (single("ascend910b2", "copy"), MEDIAN, 0.10),
    "910B2 median": (single("ascend910b2"), MEDIAN, 0.20),
    "910C median": (single("ascend910c"), MEDIAN, 0.20),
    "H100 gemm": (single("h100", "gemm"), MEDIAN, 0.20),
    "H100 attention": (single("h100", "attention", "mla"), MEDIAN, 0.20),
    "H800 gemm": (single("h800", "gemm"), MEDIAN, 0.20),
}


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """Every shipped row, simulated once."""
    return validate(read_cases(None)[0]).results


@pytest.mark.parametrize("goal", GOALS)
def test_the_goal_holds(goal: str, results: list[Result]) -> None:
    selection, measure, limit = GOALS[goal]
    summary = summarize(result.error for result in results if selection(result))
    assert summary.count > 0
    assert measure(summary) <= limit, f"{goal}: {summary}"


def test_the_model_beats_the_plain_roofline_on_the_950pr(results: list[Result]) -> None:
    rows = [result for result in results if single("ascend950pr")(result)]
    base = [row.baseline_error for row in rows if row.baseline_error is not None]
    assert summarize(row.error for row in rows).median < summarize(base).median
