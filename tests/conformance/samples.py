"""Samples: torch's inputs for an operator, once on the CPU and once on npu with equal geometry."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy
import torch
from torch.nn.modules import linear_cross_entropy_options
from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions
from torch.testing._internal.common_utils import noncontiguous_like
from torch.utils._pytree import tree_map

NPU = "npu:0"

# Their samples hold tensors that torch wants on the CPU whatever the device of the others is, so
# they are drawn for each device, as torch's own tests do, and not moved.
DRAWN_FOR_EACH_DEVICE = {"tensor_split"}

# Some of their samples name no device.
FACTORIES = {"arange", "linspace", "logspace"}


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

    def to_npu(self) -> "Sample":
        """The sample on npu."""
        return self.map(Mover())


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


class Mover:
    """Moves the leaves of one tree to npu, so that all relations between its tensors stay.

    A tensor moves with its whole storage: strides, offset and slack stay, and tensors that shared a
    storage share one again. A device, or a string that names the CPU, becomes npu. What is not of
    the CPU stays. The tree must outlive the mover, which knows tensors by identity.
    """

    def __init__(self) -> None:
        """Nothing moved yet."""
        self.moved: dict[int, torch.Tensor] = {}
        self.storages: dict[int, torch.UntypedStorage] = {}

    def __call__(self, leaf: Any) -> Any:
        """The leaf on npu."""
        if isinstance(leaf, str):
            return NPU if leaf == "cpu" else leaf
        if isinstance(leaf, torch.device):
            return torch.device(NPU) if leaf.type == "cpu" else leaf
        if not isinstance(leaf, torch.Tensor) or leaf.device.type != "cpu":
            return leaf
        if id(leaf) not in self.moved:
            moved = self._move(leaf).requires_grad_(leaf.requires_grad)
            moved.grad = self(leaf.grad) if leaf.is_leaf else None
            self.moved[id(leaf)] = moved
        return self.moved[id(leaf)]

    def _move(self, leaf: torch.Tensor) -> torch.Tensor:
        x = leaf.detach()
        if x.layout != torch.strided or x.is_quantized or x.is_nested:
            return x.to(NPU)
        moved = torch.empty(0, dtype=x.dtype, device=NPU)
        moved.set_(self._storage(x), x.storage_offset(), x.size(), x.stride())
        moved = moved.conj() if x.is_conj() else moved
        moved = torch._neg_view(moved) if x.is_neg() else moved
        moved = moved.detach()
        torch._C._autograd._unsafe_set_version_counter((moved,), (leaf._version,))
        return moved

    def _storage(self, x: torch.Tensor) -> torch.UntypedStorage:
        storage = x.untyped_storage()
        if storage._cdata not in self.storages:
            raw = torch.empty(0, dtype=torch.uint8).set_(storage).to(NPU)
            self.storages[storage._cdata] = raw.untyped_storage()
        return self.storages[storage._cdata]


def to_npu(tree: Any) -> Any:
    """A tree on npu, see Mover."""
    return tree_map(Mover(), tree)


def _plain(sample: Any) -> Sample:
    return Sample(sample.input, sample.args, sample.kwargs, getattr(sample, "name", ""))


def same_meaning(leaf: Any) -> Any:
    """What makes a sample mean the same on both devices.

    Views forget their bases, which could not be moved with them. linear_cross_entropy, left to
    choose, accumulates otherwise on the CPU than on any other device (_AUTO_DEFAULTS in
    torch/nn/modules/linear_cross_entropy_options.py:20): both get the choice for other devices.
    """
    if isinstance(leaf, LinearCrossEntropyOptions):
        return _resolved(leaf)
    if not isinstance(leaf, torch.Tensor) or not leaf._is_view():
        return leaf
    return leaf.detach().requires_grad_(leaf.requires_grad)


def _resolved(options: LinearCrossEntropyOptions) -> LinearCrossEntropyOptions:
    choice = linear_cross_entropy_options._AUTO_FALLBACK
    chunked = options.batch_chunk_size is not None
    changes: dict[str, Any] = {}
    if options.acc_policy == "auto":
        changes["acc_policy"] = choice.acc_policy
    if options.chunking_method == "auto":
        changes["chunking_method"] = None if chunked else choice.chunking_method
    return replace(options, **changes)


def _scattered(leaf: Any) -> Any:
    strided = isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided
    return noncontiguous_like(leaf) if strided else leaf


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
            drawn = _plain(sample).map(same_meaning)
            yield drawn.map(_scattered) if noncontiguous else drawn

    if op.name in DRAWN_FOR_EACH_DEVICE:
        both = zip(list(draw("cpu")), list(draw(NPU)), strict=True)
        yield from (Pair(cpu, npu) for cpu, npu in islice(both, at_most))
        return
    for cpu in islice(draw("cpu"), at_most):
        yield Pair(cpu, _on_npu(op, cpu))


def _on_npu(op: Any, cpu: Sample) -> Sample:
    """The sample on npu; a factory that the sample leaves to the default device is told npu."""
    npu = cpu.to_npu()
    if op.name in FACTORIES and "device" not in npu.kwargs:
        return replace(npu, kwargs=npu.kwargs | {"device": NPU})
    return npu


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
    return leaf.detach().clone()  # keeps the format; compressed sparse tensors refuse to be told so
