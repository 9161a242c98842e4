"""Double backward: the gradients of the gradients."""

from typing import Any

import torch

from tests.conformance.checks.backward import Gradients, gradients, leaves
from tests.conformance.checks.check import Check, CpuRefuses, Tally, cpu_side, each
from tests.conformance.checks.dtypes import backward_dtypes, only_if
from tests.conformance.compare import assert_same
from tests.conformance.samples import Pair, Sample, call, sample_pairs

SAMPLES = 12


def _second(op: Any, sample: Sample) -> Gradients:
    """Gradients of the sum of squares of the first gradients."""
    first = gradients(call(op, sample), sample, create_graph=True)
    again = [g for g in first if g is not None and g.requires_grad]
    if not again:
        raise CpuRefuses("the first gradients do not depend on the inputs")
    starts = [(2 * g).detach() for g in again]
    return torch.autograd.grad(again, leaves(sample), starts, allow_unused=True)


def _agree(one: Gradients, other: Gradients) -> bool:
    try:
        torch.testing.assert_close(one, other, equal_nan=True)
    except AssertionError:
        return False
    return True


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares the second gradients."""

    def compare(pair: Pair) -> None:
        with cpu_side():
            expected = _second(op, pair.cpu)
        try:
            assert_same(_second(op, pair.npu), expected)
        except Exception:
            # A bfloat16 convolution of oneDNN's reads memory that nobody wrote, on AMX, where the
            # innermost result is one wide and the stride is not (pytorch/pytorch#169688). Where
            # the CPU contradicts itself so, both devices are asked without oneDNN.
            with cpu_side(), torch.backends.mkldnn.flags(enabled=False):
                otherwise = _second(op, pair.cpu)
            if _agree(otherwise, expected):
                raise
            with torch.backends.mkldnn.flags(enabled=False):
                assert_same(_second(op, pair.npu), otherwise)

    return each(sample_pairs(op, dtype, requires_grad=True, at_most=SAMPLES), compare)


CHECK = Check(
    "double_backward",
    "gradients of the gradients",
    only_if(lambda op: op.supports_gradgrad, backward_dtypes),
    run,
    bound=f"the first {SAMPLES} samples",
)
