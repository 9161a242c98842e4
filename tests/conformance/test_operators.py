"""PyTorch's own operator samples (op_db): float32 on npu equals the CPU, forward and backward.

Each sample is made on the CPU and moved with its storages, so that views stay views.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import torch_npu_sim  # noqa: F401  (renames the device before torch.testing looks at it)

pytest.importorskip("expecttest", reason="torch's test data needs expecttest: [test]")

from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402
from torch.testing._internal.common_utils import set_rng_seed  # noqa: E402
from torch.utils._pytree import tree_leaves, tree_map  # noqa: E402

DTYPE = torch.float32
OPERATORS = {
    f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name: op
    for op in op_db
    if DTYPE in op.supported_dtypes("cpu")
}
# torch itself treats these otherwise off the CPU, on cuda too.
REFUSED_OFF_THE_CPU = {
    "tensor_split": "torch wants its indices on the CPU (tensor_split in TensorShape.cpp)",
    "to": "its samples name the CPU as the device to go to",
}
UNINITIALISED = {
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
}


def tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def to_npu(leaf: Any) -> Any:
    """Moves a tensor with its whole storage, so that strides, offset and slack stay."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    x = leaf.detach()
    if x.layout != torch.strided or x.is_conj() or x.is_neg() or x.numel() == 0:
        return x.to("npu:0").requires_grad_(leaf.requires_grad)
    length = x.untyped_storage().nbytes() // x.element_size()
    whole = x.as_strided((length,), (1,), 0).to("npu:0")
    moved = whole.as_strided(x.size(), x.stride(), x.storage_offset())
    return moved.detach().requires_grad_(leaf.requires_grad)


@dataclass
class Sample:
    input: Any
    args: Any
    kwargs: Any


def samples(op: Any, backward: bool) -> Iterator[tuple[Any, Sample]]:
    set_rng_seed(0)
    for sample in op.sample_inputs("cpu", DTYPE, requires_grad=backward):
        moved = tree_map(to_npu, (sample.input, sample.args, sample.kwargs))
        yield sample, Sample(*moved)


def call(op: Any, sample: Any) -> Any:
    set_rng_seed(1)
    return op(sample.input, *sample.args, **sample.kwargs)


def assert_same(npu: torch.Tensor, cpu: torch.Tensor, values: bool) -> None:
    assert (npu.dtype, npu.shape, npu.layout) == (cpu.dtype, cpu.shape, cpu.layout)
    if cpu.layout == torch.strided and cpu.numel() > 1:
        assert npu.stride() == cpu.stride()
    if values:
        torch.testing.assert_close(npu.detach().cpu(), cpu.detach(), equal_nan=True)


def gradients(outputs: list[torch.Tensor], sample: Any) -> tuple[torch.Tensor | None, ...]:
    inputs = [x for x in tensors((sample.input, sample.args, sample.kwargs)) if x.requires_grad]
    outputs = [y for y in outputs if y.requires_grad and y.layout == torch.strided]
    if not inputs or not outputs:
        return ()
    ones = [torch.ones_like(y) for y in outputs]
    return torch.autograd.grad(outputs, inputs, ones, allow_unused=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OPERATORS)
def test_operator_equals_the_cpu_on_torchs_samples(name: str) -> None:
    op = OPERATORS[name]
    if name in REFUSED_OFF_THE_CPU:
        pytest.skip(REFUSED_OFF_THE_CPU[name])
    if name.startswith("jiterator"):
        pytest.skip("torch asserts a CUDA device (torch/cuda/jiterator.py)")
    backward = op.supports_autograd and DTYPE in op.supported_backward_dtypes("cpu")
    values = op.name not in UNINITIALISED
    for on_cpu, on_npu in samples(op, backward):
        try:
            expected = tensors(call(op, on_cpu))
            expected_grads = gradients(expected, on_cpu)
        except (RuntimeError, NotImplementedError):
            continue  # the CPU refuses the sample
        got = tensors(call(op, on_npu))
        assert len(got) == len(expected)
        for npu, cpu in zip(got, expected, strict=True):
            assert_same(npu, cpu, values)
        for npu_grad, cpu_grad in zip(gradients(got, on_npu), expected_grads, strict=True):
            assert (npu_grad is None) == (cpu_grad is None)
            if npu_grad is not None and cpu_grad is not None:
                assert_same(npu_grad, cpu_grad, values)
