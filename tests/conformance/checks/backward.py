"""Backward: the gradients of every input, and the autograd facts of every result."""

from typing import Any

import torch

from tests.conformance.checks.check import Check, CpuRefuses, Tally, cpu_side, each
from tests.conformance.checks.dtypes import backward_dtypes
from tests.conformance.compare import assert_same, expect_equal, has_values, tensors
from tests.conformance.samples import Pair, Sample, call, sample_pairs

Gradients = tuple[torch.Tensor | None, ...]


def differentiable(result: Any) -> list[torch.Tensor]:
    """The strided results that a gradient can start from."""
    return [y for y in tensors(result) if y.requires_grad and y.layout == torch.strided]


def leaves(sample: Sample) -> list[torch.Tensor]:
    """The inputs that want a gradient."""
    return [x for x in tensors(sample.values) if x.requires_grad]


def gradients(result: Any, sample: Sample, *, create_graph: bool = False) -> Gradients:
    """The gradients of the inputs for ones at every result."""
    outputs, inputs = differentiable(result), leaves(sample)
    if not outputs or not inputs:
        raise CpuRefuses("nothing to differentiate")
    ones = [torch.ones_like(y) for y in outputs]
    return torch.autograd.grad(outputs, inputs, ones, allow_unused=True, create_graph=create_graph)


def compare_gradients(op: Any, pair: Pair) -> None:
    """Compares forward and backward of one sample."""
    with cpu_side():
        expected = call(op, pair.cpu)
        expected_grads = gradients(expected, pair.cpu)
    got = call(op, pair.npu)
    assert_same(got, expected, values=has_values(op))
    expect_equal(
        "which results are leaves", *([x.is_leaf for x in tensors(t)] for t in (got, expected))
    )
    assert_same(gradients(got, pair.npu), expected_grads)


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares the gradients of every sample."""
    pairs = sample_pairs(op, dtype, requires_grad=True)
    return each(pairs, lambda pair: compare_gradients(op, pair))


CHECK = Check("backward", "gradients of every input", backward_dtypes, run)
