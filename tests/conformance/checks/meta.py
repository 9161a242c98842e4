"""Meta agreement: what FakeTensorMode says of a call on npu is what the call does."""

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.conformance.checks.check import Check, Tally, cpu_side, each
from tests.conformance.checks.dtypes import forward_dtypes
from tests.conformance.compare import expect_equal, tensors
from tests.conformance.samples import Pair, Sample, again, call, sample_pairs

SAMPLES = 4


def _facts(x: torch.Tensor) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "dtype": x.dtype,
        "shape": tuple(x.shape),
        "layout": x.layout,
        "device": str(x.device),
    }
    if x.layout == torch.strided and x.numel() > 0:
        facts["strides"] = x.stride()
    return facts


def _faked(op: Any, sample: Sample) -> list[dict[str, Any]]:
    with FakeTensorMode() as mode:
        fakes = sample.map(lambda x: mode.from_tensor(x) if isinstance(x, torch.Tensor) else x)
        return [_facts(x) for x in tensors(call(op, fakes))]


def _assert_agreement(op: Any, sample: Sample) -> None:
    real = [_facts(x) for x in tensors(call(op, again(sample)))]
    faked = _faked(op, sample)
    expect_equal("number of faked results", len(faked), len(real))
    for fake, fact in zip(faked, real, strict=True):
        for name, value in fact.items():
            expect_equal(f"{name} of the faked result", fake[name], value)


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares the faked with the real call; a sample on which the CPU's disagree is refused."""

    def compare(pair: Pair) -> None:
        try:
            _assert_agreement(op, pair.npu)
        except Exception:
            with cpu_side():
                _assert_agreement(op, pair.cpu)
            raise

    return each(sample_pairs(op, dtype, at_most=SAMPLES), compare)


CHECK = Check(
    "meta",
    "FakeTensorMode's shape, dtype, strides and device against the real result",
    forward_dtypes,
    run,
    bound=f"the first {SAMPLES} samples",
)
