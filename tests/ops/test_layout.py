"""npu_confusion_transpose and npu_reshape against permute and reshape."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

OPS = torch.ops.npu


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.bool])
def test_the_permutation_comes_first_or_last(dtype: torch.dtype) -> None:
    x = torch.arange(24).reshape(2, 3, 4).to(dtype)
    first = OPS.npu_confusion_transpose(x.npu(), [2, 0, 1], [4, 6], True)
    assert_equal(first, x.permute(2, 0, 1).reshape(4, 6))
    last = OPS.npu_confusion_transpose(x.npu(), [1, 0], [4, 6], False)
    assert_equal(last, x.reshape(4, 6).permute(1, 0))
    assert last.is_contiguous()
    assert_meta_agrees(OPS.npu_confusion_transpose, x, [1, 0], [4, 6], False)


@pytest.mark.parametrize(
    ("perm", "shape", "first"), [([2, 0, 1], [4, 6], True), ([1, 2, 0], [3, 4, 2], False)]
)
def test_the_gradient_of_confusion_transpose_passes_gradcheck(
    perm: list[int], shape: list[int], first: bool
) -> None:
    x = torch.randn(2, 3, 4, dtype=torch.float64, device="npu", requires_grad=True)
    call = OPS.npu_confusion_transpose
    assert torch.autograd.gradcheck(lambda x: call(x, perm, shape, first), (x,))


@pytest.mark.parametrize(
    ("perm", "shape", "words"),
    [([0, 0], [4, 6], "permutation"), ([1, 0], [4, 5], "24 elements"), ([2, 0], [4, 6], "perm")],
)
def test_confusion_transpose_names_what_is_wrong(
    perm: list[int], shape: list[int], words: str
) -> None:
    with pytest.raises(ValueError, match=f"npu_confusion_transpose: .*{words}"):
        OPS.npu_confusion_transpose(torch.ones(2, 3, 4).npu(), perm, shape, False)


def test_confusion_transpose_is_one_copy() -> None:
    x = torch.ones(64, 32).npu()
    with torch_npu_sim.trace() as trace:
        OPS.npu_confusion_transpose(x, [1, 0], [32, 64], True)
    (kernel,) = trace.kernels
    assert (kernel.bytes_read, kernel.bytes_written) == (64 * 32 * 4, 64 * 32 * 4)


def test_reshape_copies() -> None:
    x = torch.randn(4, 6)
    card = x.npu()
    y = OPS.npu_reshape(card, [3, 8])
    assert_equal(y, x.reshape(3, 8))
    assert y.data_ptr() != card.data_ptr()
    out = torch.empty(2, 12).npu()
    assert OPS.npu_reshape(card, [2, 12], out=out) is out
    assert_equal(out, x.reshape(2, 12))
    assert_meta_agrees(OPS.npu_reshape, x, [24])
    with pytest.raises(ValueError, match="npu_reshape: .*24 elements"):
        OPS.npu_reshape(*on_npu((x,)), [5, 5])
