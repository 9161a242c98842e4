"""Inputs with gaps: forward, and backward where there is one."""

from typing import Any

import torch

from tests.conformance.checks.backward import compare_gradients
from tests.conformance.checks.check import Check, Tally, cpu_side, each
from tests.conformance.checks.dtypes import backward_dtypes, forward_dtypes
from tests.conformance.compare import assert_same, has_values
from tests.conformance.samples import Pair, call, sample_pairs

SAMPLES = 8


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares results and gradients for inputs of which every second element is a gap."""
    backward = dtype in backward_dtypes(op)

    def compare(pair: Pair) -> None:
        if backward:
            return compare_gradients(op, pair)
        with cpu_side():
            expected = call(op, pair.cpu)
        assert_same(call(op, pair.npu), expected, values=has_values(op))

    pairs = sample_pairs(op, dtype, requires_grad=backward, noncontiguous=True, at_most=SAMPLES)
    return each(pairs, compare)


CHECK = Check(
    "noncontiguous",
    "results and gradients for inputs with gaps",
    forward_dtypes,
    run,
    bound=f"the first {SAMPLES} samples",
)
