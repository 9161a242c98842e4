"""Samples: torch's inputs for an operator, once on the CPU and once on npu with equal geometry."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy
import torch
from torch.testing._internal.common_utils import noncontiguous_like
from torch.utils._pytree import tree_leaves, tree_map

NPU = "npu:0"

# Their samples hold tensors that torch wants on the CPU whatever the device of the others is, so
# they are drawn for each device, as torch's own tests do, and not moved.
DRAWN_FOR_EACH_DEVICE = {"tensor_split"}


@dataclass
class Sample:
    """The arguments of one call."""

    input: Any
    args: Any
    kwargs: Any
    name: str = ""

    @property
    def values(self) -> tuple[Any, Any, Any]:
        """All arguments, as a tree."""
        return self.input, self.args, self.kwargs

    def map(self, change: Any) -> "Sample":
        """The sample with `change` made to each leaf."""
        return Sample(*tree_map(change, self.values), name=self.name)


@dataclass
class Pair:
    """The same sample on both devices."""

    cpu: Sample
    npu: Sample


def seed(number: int) -> None:
    """Seeds every generator that a sample or an operator draws from.

    torch.manual_seed() would also keep the call stack for devices that are not there, which takes
    longer than most samples.
    """
    random.seed(number)
    numpy.random.seed(number)
    torch.default_generator.manual_seed(number)
    torch.npu.manual_seed(number)


def to_npu(leaf: Any) -> Any:
    """Moves a tensor with its whole storage, so that strides, offset and slack stay.

    A device, or a string that names the CPU, becomes npu; anything else stays.
    """
    if isinstance(leaf, torch.device) or (isinstance(leaf, str) and leaf == "cpu"):
        return NPU if isinstance(leaf, str) else torch.device(NPU)
    if not isinstance(leaf, torch.Tensor):
        return leaf
    x = leaf.detach()
    plain = x.layout == torch.strided and not x.is_quantized and not x.is_nested
    if not plain:
        return x.to(NPU).requires_grad_(leaf.requires_grad)
    raw = torch.empty(0, dtype=torch.uint8).set_(x.untyped_storage()).clone().to(NPU)
    moved = torch.empty(0, dtype=x.dtype, device=NPU)
    moved.set_(raw.untyped_storage(), x.storage_offset(), x.size(), x.stride())
    moved = moved.conj() if x.is_conj() else moved
    moved = torch._neg_view(moved) if x.is_neg() else moved
    return moved.detach().requires_grad_(leaf.requires_grad)


def _plain(sample: Any) -> Sample:
    return Sample(sample.input, sample.args, sample.kwargs, getattr(sample, "name", ""))


def _scattered(leaf: Any) -> Any:
    return noncontiguous_like(leaf) if isinstance(leaf, torch.Tensor) else leaf


def sample_pairs(
    op: Any,
    dtype: torch.dtype,
    *,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    at_most: int | None = None,
) -> Iterator[Pair]:
    """Pairs of samples of `op`; the first `at_most` of them."""

    def draw(device: str) -> Iterator[Sample]:
        seed(0)
        # Not op.sample_inputs(): it walks the call stack to name the test that asks.
        for sample in op.sample_inputs_func(op, device, dtype, requires_grad):
            drawn = _plain(sample)
            yield drawn.map(_scattered) if noncontiguous else drawn

    if op.name in DRAWN_FOR_EACH_DEVICE:
        both = zip(list(draw("cpu")), list(draw(NPU)), strict=True)
        yield from (Pair(cpu, npu) for cpu, npu in islice(both, at_most))
        return
    for cpu in islice(draw("cpu"), at_most):
        yield Pair(cpu, _on_npu(cpu))


def _on_npu(cpu: Sample) -> Sample:
    """The sample on npu; if nothing in it names a device, it asks for one."""
    npu = cpu.map(to_npu)
    leaves = tree_leaves(npu.values)
    if any(leaf is NPU or isinstance(leaf, torch.Tensor | torch.device) for leaf in leaves):
        return npu
    return replace(npu, kwargs=npu.kwargs | {"device": NPU})


def call(function: Any, sample: Sample, **more: Any) -> Any:
    """Calls `function` on the sample with every generator at the same seed."""
    seed(1)
    return function(sample.input, *sample.args, **sample.kwargs, **more)


def again(sample: Sample) -> Sample:
    """The sample with clones of its tensors, geometry kept, that do not require a gradient."""
    return replace(sample).map(_clone)


def _clone(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return leaf.detach().clone(memory_format=torch.preserve_format)
