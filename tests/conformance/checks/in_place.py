"""In-place: the written argument, and that it is what comes back."""

from typing import Any

import torch

from tests.conformance.checks.check import Check, CpuRefuses, Tally, cpu_side, each
from tests.conformance.checks.dtypes import forward_dtypes, only_if
from tests.conformance.compare import assert_same, assert_same_inputs, expect_equal, tensors
from tests.conformance.samples import Pair, Sample, call, sample_pairs


def _facts(result: Any, sample: Sample) -> dict[str, Any]:
    return {
        "the result is the written argument": result is sample.input,
        "versions of the arguments": [x._version for x in tensors(sample.values)],
        "versions of the results": [x._version for x in tensors(result)],
    }


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares the written argument of every sample."""
    in_place = op.get_inplace()

    def compare(pair: Pair) -> None:
        if not tensors(pair.cpu.input):
            raise CpuRefuses("the sample's first argument is no tensor")
        with cpu_side():
            expected = call(in_place, pair.cpu)
        got = call(in_place, pair.npu)
        assert_same(got, expected)
        assert_same_inputs(pair.npu.values, pair.cpu.values)
        for name, fact in _facts(expected, pair.cpu).items():
            expect_equal(name, _facts(got, pair.npu)[name], fact)

    return each(sample_pairs(op, dtype), compare)


CHECK = Check(
    "in_place",
    "the written argument, its identity and its version counter",
    only_if(lambda op: op.get_inplace() is not None, forward_dtypes),
    run,
)
