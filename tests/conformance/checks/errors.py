"""Wrong use: the type and the message of the error, up to the device's name."""

from typing import Any

from tests.conformance.checks.check import Check, CpuRefuses, Tally, each
from tests.conformance.compare import assert_same_error, behaviour
from tests.conformance.samples import Mover, Pair, Sample, call, seed


def _pairs(op: Any) -> list[Pair]:
    seed(0)
    drawn = [wrong.sample_input for wrong in op.error_inputs_func(op, "cpu")]
    samples = [Sample(s.input, s.args, s.kwargs) for s in drawn]
    move = Mover()  # one for all, since torch uses a tensor in several samples and calls resize it
    return [Pair(sample, sample.map(move)) for sample in samples]


def run(op: Any, dtype: None) -> Tally:
    """Compares what the calls raise; a call that the CPU lets through counts as refused."""

    def compare(pair: Pair) -> None:
        at_cpu = behaviour(lambda: call(op, pair.cpu))
        if at_cpu.error is None:
            raise CpuRefuses("the CPU lets the call through")
        at_npu = behaviour(lambda: call(op, pair.npu))
        assert_same_error(at_npu.error, at_cpu.error)

    return each(_pairs(op), compare)


CHECK = Check(
    "errors",
    "type and message of the error for wrong arguments",
    lambda op: [None] if op.error_inputs_func is not None else [],
    run,
)
