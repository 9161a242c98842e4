"""Gathers, sums by index, one-hot and strided slices against torch's own."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

OPS = torch.ops.npu


@pytest.mark.parametrize("index_shape", [(0,), (3,), (2, 4), (1, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_gather_sparse_index_picks_rows(dtype: torch.dtype, index_shape: tuple[int, ...]) -> None:
    x = torch.randint(2, (5, 3, 2)).to(dtype)
    index = torch.randint(5, index_shape)
    assert_equal(OPS.npu_gather_sparse_index(*on_npu((x, index))), x[index])
    assert_meta_agrees(OPS.npu_gather_sparse_index, x, index)


def test_the_gradient_of_gather_sparse_index_adds_up_repeated_rows() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, device="npu", requires_grad=True)
    index = torch.tensor([[1, 1], [3, 1]]).npu()
    assert torch.autograd.gradcheck(lambda x: OPS.npu_gather_sparse_index(x, index), (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int32])
def test_index_add_adds_rows_of_the_first_axis(dtype: torch.dtype) -> None:
    x, source = torch.randint(9, (4, 3)).to(dtype), torch.randint(9, (5, 3)).to(dtype)
    index = torch.tensor([0, 2, 2, 3, 0])
    want = x.index_add(0, index, source, alpha=2)
    card = x.npu()
    assert_equal(OPS._npu_index_add(card, *on_npu((index, source)), alpha=2), want)
    assert_equal(card, x)
    assert OPS._npu_index_add_(card, *on_npu((index, source)), alpha=2) is card
    assert_equal(card, want)
    assert_meta_agrees(OPS._npu_index_add, x, index, source)


@pytest.mark.parametrize("dim", [0, -1])
def test_gather_backward_is_the_gradient_of_gather(dim: int) -> None:
    x = torch.randn(4, 5, requires_grad=True)
    index, grad = torch.randint(4, (4, 5)), torch.randn(4, 5)
    x.gather(dim, index).backward(grad)
    got = OPS.npu_gather_backward(grad.npu(), [4, 5], dim, index.npu(), False)
    assert x.grad is not None
    assert_equal(got, x.grad)
    assert_meta_agrees(OPS.npu_gather_backward, grad, [4, 5], dim, index, False)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_repeat_interleave_backward_is_its_gradient(dim: int | None) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    y = x.repeat_interleave(2, dim)
    grad = torch.randn(y.shape)
    (want,) = torch.autograd.grad(y, x, grad)
    got = OPS.repeat_interleave_backward_int(*on_npu((grad, x.detach())), 2, dim)
    assert_equal(got, want)
    one = OPS.repeat_interleave_backward_tensor(*on_npu((grad, x.detach(), torch.tensor([2]))), dim)
    assert_equal(one, want)
    assert_meta_agrees(OPS.repeat_interleave_backward_int, grad, x.detach(), 2, dim)


@pytest.mark.parametrize("dim", [0, 1])
def test_repeat_interleave_backward_takes_counts_of_their_own(dim: int) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    repeats = torch.tensor([2, 0, 3, 1][: x.shape[dim]])
    y = x.repeat_interleave(repeats, dim)
    grad = torch.randn(y.shape)
    (want,) = torch.autograd.grad(y, x, grad)
    args = (grad, x.detach(), repeats)
    assert_equal(OPS.repeat_interleave_backward_tensor(*on_npu(args), dim), want)
    assert_meta_agrees(OPS.repeat_interleave_backward_tensor, *args, dim)


@pytest.mark.parametrize(("on", "off", "dtype"), [(1, 0, torch.int64), (2.5, -1.0, torch.float32)])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot_puts_the_new_axis_where_num_classes_says(
    axis: int, on: float, off: float, dtype: torch.dtype
) -> None:
    x = torch.tensor([[0, 3], [2, 9]]).int()
    hot = OPS.npu_one_hot(x.npu(), axis, 4, on, off)
    hit = x[..., None] == torch.arange(4)
    want = torch.where(hit, on, off).to(dtype).movedim(-1, axis)
    assert_equal(hot, want)
    assert_meta_agrees(OPS.npu_one_hot, x, axis, 4, on, off)


def test_one_hot_finds_its_depth() -> None:
    assert OPS.npu_one_hot(torch.tensor([0, 4]).npu(), -1, -1).shape == (2, 5)


@pytest.mark.parametrize(
    ("call", "want"),
    [
        (([0, 0], [2, 2], [1, 1]), lambda x: x[0:2, 0:2]),
        (([0, 1], [3, 5], [2, 3]), lambda x: x[0:3:2, 1:5:3]),
        (([-2, 0], [9, -1], [1, 1]), lambda x: x[-2:, 0:-1]),
        (([1, 3], [3, 0], [1, -1]), lambda x: x[1:3].flip(1)[:, 2:5]),
        (([1, 2], [3, 3], [1, 1], 1, 2), lambda x: x[:3, 2:]),
        (([0, 1], [0, 2], [1, 1], 0, 0, 1), lambda x: x[..., 1:2]),
        (([0, 1], [0, 2], [1, 1], 0, 0, 0, 1), lambda x: x[None, 1:2]),
        (([1, 2], [2, 4], [1, 1], 0, 0, 0, 0, 1), lambda x: x[1, 2:4]),
        (([2], [1], [1]), lambda x: x[2:1]),
    ],
)
def test_indexing_slices_as_its_masks_say(call: Any, want: Any) -> None:
    x = torch.arange(18).reshape(3, 6)
    assert_equal(OPS.npu_indexing(x.npu(), *call), want(x))
    assert_meta_agrees(OPS.npu_indexing, x, *call)
    out = torch.zeros_like(want(x)).npu()
    assert OPS.npu_indexing(x.npu(), *call, out=out) is out
    assert_equal(out, want(x))


def test_a_gather_reads_rows_and_their_indices() -> None:
    x, index = on_npu((torch.zeros(100, 64), torch.randint(100, (10,))))
    with torch_npu_sim.trace() as trace:
        OPS.npu_gather_sparse_index(x, index)
    (kernel,) = trace.kernels
    assert (kernel.bytes_read, kernel.bytes_written) == (10 * 64 * 4 + 80, 10 * 64 * 4)


X, FIRST_TWO = torch.ones(3, 4), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("name", "args", "error", "words"),
    [
        ("npu_gather_sparse_index", (X, torch.tensor([3])), IndexError, "index from 0 to 2, got 3"),
        ("npu_gather_sparse_index", (X, X), TypeError, "index of int32 or int64"),
        ("npu_gather_sparse_index_backward", (X, [3, 4], FIRST_TWO), ValueError, "a row an index"),
        ("_npu_index_add", (X, FIRST_TWO, X), ValueError, "expected source"),
        ("_npu_index_add", (X, FIRST_TWO, X[:2].half()), TypeError, "dtype of input"),
        (
            "_npu_index_add",
            (X, torch.tensor([0, 7]), X[:2]),
            IndexError,
            "index from 0 to 2, got 7",
        ),
        ("npu_gather_backward", (X, [3, 4], 2, X.long(), False), IndexError, "expected dim"),
        ("npu_gather_backward", (X, [3, 4], 0, X.long(), True), NotImplementedError, "sparse"),
        ("repeat_interleave_backward_int", (X, X, 2, 0), ValueError, "2 times the elements"),
        ("repeat_interleave_backward_tensor", (X, X, FIRST_TWO, 0), ValueError, "with the sum 3"),
        ("npu_one_hot", (X,), TypeError, "integer input"),
        ("npu_one_hot", (FIRST_TWO, 2), ValueError, "num_classes, the new axis"),
        ("npu_one_hot", (FIRST_TWO, -1, 2, 1, 0.5), TypeError, "one dtype"),
        ("npu_indexing", (X, [0], [1, 2], [1, 1]), ValueError, "one length"),
        ("npu_indexing", (X, [0], [1], [0]), ValueError, "strides other than 0"),
        ("npu_indexing", (X, [0, 0, 0], [1, 1, 1], [1, 1, 1]), IndexError, "at most 2 indices"),
        ("npu_indexing", (X, [5], [6], [1], 0, 0, 0, 0, 1), IndexError, "expected begin"),
    ],
)
def test_an_index_operator_names_what_is_wrong(
    name: str, args: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"{name}: .*{words}"):
        getattr(OPS, name)(*on_npu(args))
