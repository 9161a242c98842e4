"""Views and version counters: who shares memory with whom, and who notices a write."""

from collections.abc import Sequence
from typing import Any

import torch

from tests.conformance.checks.check import Check, Tally, cpu_side, each
from tests.conformance.checks.dtypes import backward_dtypes, forward_dtypes
from tests.conformance.compare import (
    assert_same_error,
    assert_same_inputs,
    behaviour,
    expect_equal,
    tensors,
)
from tests.conformance.samples import Pair, Sample, call, sample_pairs

SAMPLES = 8

# On an accelerator torch takes one fused kernel where the CPU multiplies by a mask
# (is_fused_kernel_acceptable in ATen/native/Dropout.cpp), so the graph differs, as on torch.cuda.
FUSED_ON_ACCELERATORS = {"nn.functional.dropout"}


def _storage(x: torch.Tensor) -> int | None:
    """The address of a tensor's bytes; None if it has none."""
    if x.layout != torch.strided or x.untyped_storage().nbytes() == 0:
        return None
    return x.untyped_storage().data_ptr()


def _place(x: torch.Tensor | None, among: Sequence[torch.Tensor]) -> int | None:
    """The position at which the very tensor stands."""
    return next((i for i, other in enumerate(among) if other is x), None)


def relations(result: Any, sample: Sample) -> dict[str, Any]:
    """Every relation between results and inputs that a program can see."""
    inputs, outputs = tensors(sample.values), tensors(result)
    everything = inputs + outputs
    addresses = [_storage(x) for x in everything]
    return {
        "results that are inputs": [_place(y, inputs) for y in outputs],
        "tensors that share a storage": [
            None if address is None else addresses.index(address) for address in addresses
        ],
        "bytes of the storages": [
            None if _storage(x) is None else x.untyped_storage().nbytes() for x in outputs
        ],
        "views": [x._is_view() for x in outputs],
        "bases of the views": [_place(x._base, everything) for x in outputs],
        "autograd functions": [type(x.grad_fn).__name__ for x in outputs],
        "numbers of the outputs": [x.output_nr for x in outputs],
        "versions": [x._version for x in everything],
    }


def _write(result: Any) -> None:
    """Writes to every result that can be written to; an error is part of the behaviour."""
    for y in tensors(result):
        behaviour(lambda y=y: y.detach().zero_())


def _assert_same_relations(
    op: Any, when: str, npu: tuple[Any, Sample], cpu: tuple[Any, Sample]
) -> None:
    """Compares the relations; after some writes autograd refuses to tell them, on both devices."""
    at_npu, at_cpu = behaviour(lambda: relations(*npu)), behaviour(lambda: relations(*cpu))
    assert_same_error(at_npu.error, at_cpu.error)
    for name, fact in _select(op, at_cpu.result or {}).items():
        expect_equal(f"{name} {when}", at_npu.result[name], fact)


def _select(op: Any, facts: dict[str, Any]) -> dict[str, Any]:
    fused = op.name in FUSED_ON_ACCELERATORS
    return {name: fact for name, fact in facts.items() if not fused or name != "autograd functions"}


def run(op: Any, dtype: torch.dtype) -> Tally:
    """Compares the relations after the call, and after a write through each result."""
    backward = dtype in backward_dtypes(op)

    def compare(pair: Pair) -> None:
        with cpu_side():
            expected = call(op, pair.cpu)
        npu, cpu = (call(op, pair.npu), pair.npu), (expected, pair.cpu)
        _assert_same_relations(op, "after the call", npu, cpu)
        for result, _ in (npu, cpu):
            _write(result)
        _assert_same_relations(op, "after a write", npu, cpu)
        assert_same_inputs(pair.npu.values, pair.cpu.values)

    return each(sample_pairs(op, dtype, requires_grad=backward, at_most=SAMPLES), compare)


CHECK = Check(
    "aliases",
    "identity, shared storages, views and their bases, autograd functions, version counters, "
    "and writes through results",
    forward_dtypes,
    run,
    bound=f"the first {SAMPLES} samples",
)
