"""torch.compile(backend="aot_eager"): the compiled call against the eager one on the CPU."""

from typing import Any

import torch

from tests.conformance.checks.check import Check, Tally, cpu_side, each
from tests.conformance.checks.dtypes import forward_dtypes
from tests.conformance.compare import assert_same, has_values
from tests.conformance.samples import Pair, Sample, again, call, sample_pairs

SAMPLES = 1


def _compiled(op: Any, sample: Sample) -> Any:
    torch._dynamo.reset()
    function = torch.compile(op.get_op(), backend="aot_eager", dynamic=False)
    try:
        return call(function, again(sample))
    finally:
        torch._dynamo.reset()


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares the compiled call.

    A sample that the CPU cannot compile, or compiles to something else than it does eagerly, is
    refused by the CPU.
    """

    def compare(pair: Pair) -> None:
        with cpu_side():
            expected = call(op, again(pair.cpu))
        try:
            assert_same(_compiled(op, pair.npu), expected, values=has_values(op))
        except Exception:
            with cpu_side():
                again_on_cpu = _compiled(op, pair.cpu)
                torch.testing.assert_close(again_on_cpu, expected, equal_nan=True)
            raise

    return each(sample_pairs(op, dtype, at_most=SAMPLES), compare)


CHECK = Check(
    "compile",
    'torch.compile(backend="aot_eager", dynamic=False) against eager CPU',
    forward_dtypes,
    run,
    bound="the first sample",
)
