"""out=: of the right size, of wrong ones, of another dtype, and with gaps.

Each case either gives the same results in the same memory on both devices, or the same error.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch

from tests.conformance.checks.check import Check, CpuRefuses, Tally, cpu_side, each
from tests.conformance.checks.dtypes import forward_dtypes, only_if
from tests.conformance.compare import (
    assert_same,
    assert_same_error,
    behaviour,
    expect,
    expect_equal,
    has_values,
    message_of,
    tensors,
)
from tests.conformance.samples import Pair, Sample, again, call, sample_pairs, to_npu

SAMPLES = 6

VERSIONS = "versions of the out tensors"

Make = Callable[[torch.Tensor], torch.Tensor]


def _right(like: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(like)


def _larger(like: torch.Tensor) -> torch.Tensor:
    return torch.ones((*like.shape, 2), dtype=like.dtype)


def _nothing(like: torch.Tensor) -> torch.Tensor:
    return torch.ones(0, dtype=like.dtype)


def _gaps(like: torch.Tensor) -> torch.Tensor:
    return torch.ones((*like.shape, 2), dtype=like.dtype)[..., 0]


def _other_dtype(like: torch.Tensor) -> torch.Tensor:
    other = torch.float64 if like.dtype == torch.int32 else torch.int32
    return torch.ones(like.shape, dtype=other)


CASES: dict[str, Make] = {
    "the right size": _right,
    "a larger one": _larger,
    "no elements": _nothing,
    "gaps": _gaps,
    "another dtype": _other_dtype,
}


def _packed(outs: list[torch.Tensor], result: Any) -> Any:
    return outs[0] if isinstance(result, torch.Tensor) else tuple(outs)


def _facts(outs: list[torch.Tensor], pointers: list[int], result: Any) -> dict[str, Any]:
    returned = tensors(result)
    return {
        "which results are the out tensors": [any(r is o for o in outs) for r in returned],
        "which out tensors stayed where they were": [
            out.data_ptr() == pointer for out, pointer in zip(outs, pointers, strict=True)
        ],
        VERSIONS: [out._version for out in outs],
    }


def _into(op: Any, sample: Sample, outs: list[torch.Tensor], packed: Any) -> tuple[Any, ...]:
    """The behaviour of the call, its facts, and its warnings."""
    pointers = [out.data_ptr() for out in outs]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        told = behaviour(lambda: call(op, again(sample), out=packed))
    texts = [message_of(warning.message) for warning in caught]  # type: ignore[arg-type]
    resized = [text for text in texts if "was resized" in text]  # others come once a process
    return told, _facts(outs, pointers, told.result), resized


def _compare_case(op: Any, pair: Pair, expected: Any, make: Make) -> None:
    outs = [make(x) for x in tensors(expected)]
    npu_outs = to_npu(outs)
    shapes = [out.shape for out in outs]
    at_cpu, cpu_facts, cpu_warnings = _into(op, pair.cpu, outs, _packed(outs, expected))
    at_npu, npu_facts, npu_warnings = _into(op, pair.npu, npu_outs, _packed(npu_outs, expected))
    assert_same_error(at_npu.error, at_cpu.error)
    if at_cpu.error is not None:
        return
    assert_same(npu_outs, outs, values=has_values(op))
    for name, fact in cpu_facts.items():
        # On the CPU torch resizes without the dispatcher (_resize_output in
        # ATen/native/Resize.cpp), so there, and only there, the version does not count it.
        if name != VERSIONS or shapes == [x.shape for x in outs]:
            expect_equal(name, npu_facts[name], fact)
    expect_equal("warnings", npu_warnings, cpu_warnings)


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares every case of `CASES` on the first samples."""

    def compare(pair: Pair) -> None:
        with cpu_side():
            expected = call(op, again(pair.cpu))
        results = tensors(expected)
        if not results or any(x.layout != torch.strided for x in results):
            raise CpuRefuses("no strided result to give an out tensor for")
        for name, make in CASES.items():
            try:
                _compare_case(op, pair, expected, make)
            except Exception as error:
                expect(False, f"out of {name}: {type(error).__name__}: {error}")

    return each(sample_pairs(op, dtype, at_most=SAMPLES), compare)


CHECK = Check(
    "out",
    "out= of the right size, larger, empty, with gaps, of another dtype: results, memory, "
    "versions, warnings, errors",
    only_if(lambda op: op.supports_out, forward_dtypes),
    run,
    bound=f"the first {SAMPLES} samples, 5 cases each",
)
