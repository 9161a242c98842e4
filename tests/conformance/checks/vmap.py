"""vmap: torch.func.vmap over the inputs, batched at the front, at the back, and one by one."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from tests.conformance.checks.check import Check, CpuRefuses, Tally, cpu_side, each
from tests.conformance.checks.dtypes import forward_dtypes
from tests.conformance.compare import assert_same, has_values
from tests.conformance.samples import Pair, Sample, call, sample_pairs

SAMPLES = 2
BATCH = 2


def _in_dims(flat: list[Any]) -> Iterator[list[int | None]]:
    """Ways to batch: every tensor in front, every tensor behind, only the first, only the rest."""
    where = [i for i, leaf in enumerate(flat) if isinstance(leaf, torch.Tensor)]

    def batched(positions: list[int], dim: int) -> list[int | None]:
        return [dim if i in positions else None for i in range(len(flat))]

    yield batched(where, 0)
    yield batched(where, -1)
    if len(where) > 1:
        yield batched(where[:1], 0)
        yield batched(where[1:], 0)


def _mapped(op: Any, sample: Sample, dims: list[int | None]) -> Any:
    flat, tree = tree_flatten((sample.input, sample.args))
    batched = [
        leaf if dim is None else torch.stack([leaf] * BATCH, dim)
        for leaf, dim in zip(flat, dims, strict=True)
    ]

    def one(*leaves: Any) -> Any:
        first, args = tree_unflatten(leaves, tree)
        return op(first, *args, **sample.kwargs)

    batch = torch.func.vmap(one, tuple(dims), randomness="different")
    return call(batch, Sample(batched[0], tuple(batched[1:]), {}))


def _cases(pairs: Iterator[Pair]) -> Iterator[tuple[Pair, list[int | None]]]:
    for pair in pairs:
        flat, _ = tree_flatten((pair.cpu.input, pair.cpu.args))
        for dims in _in_dims(flat):
            yield pair, dims


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares each way to batch the first samples."""

    def compare(case: tuple[Pair, list[int | None]]) -> None:
        pair, dims = case
        if all(dim is None for dim in dims):
            raise CpuRefuses("no tensor to batch")
        with cpu_side():
            expected = _mapped(op, pair.cpu, dims)
        assert_same(_mapped(op, pair.npu, dims), expected, values=has_values(op))

    return each(_cases(sample_pairs(op, dtype, at_most=SAMPLES)), compare)


CHECK = Check(
    "vmap",
    "torch.func.vmap with every tensor batched (first and last dimension), only the first, and "
    "only the others",
    forward_dtypes,
    run,
    bound=f"the first {SAMPLES} samples, batches of {BATCH}; samples count once a way to batch",
)
