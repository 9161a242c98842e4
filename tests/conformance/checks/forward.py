"""Forward: the results of every sample, with their geometry, and what was written to inputs."""

from typing import Any

import torch

from tests.conformance.checks.check import Check, Tally, cpu_side, each
from tests.conformance.checks.dtypes import forward_dtypes
from tests.conformance.compare import assert_same, assert_same_inputs, has_values
from tests.conformance.samples import Pair, call, sample_pairs


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares the results of every sample."""

    def compare(pair: Pair) -> None:
        with cpu_side():
            expected = call(op, pair.cpu)
        assert_same(call(op, pair.npu), expected, values=has_values(op))
        assert_same_inputs(pair.npu.values, pair.cpu.values)

    return each(sample_pairs(op, dtype), compare)


CHECK = Check("forward", "results and inputs after the call", forward_dtypes, run)
