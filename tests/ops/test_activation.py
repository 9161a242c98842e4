"""Gated activations against their formulas."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

FLOATS = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "dim"), [((4, 6), -1), ((2, 4, 3), 1), ((0, 4), -1), ((2,), 0)])
def test_swiglu_multiplies_the_gated_half(
    shape: tuple[int, ...], dim: int, dtype: torch.dtype
) -> None:
    x = torch.randn(shape, dtype=dtype)
    a, b = x.double().chunk(2, dim)
    y = torch_npu_sim.npu_swiglu(on_npu(x), dim=dim)
    assert_equal(y, (a / (1 + torch.exp(-a)) * b).to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_swiglu, x, dim)


def test_the_gradient_of_swiglu_passes_gradcheck() -> None:
    x = torch.randn(3, 6, dtype=torch.float64, device="npu", requires_grad=True)
    assert torch.autograd.gradcheck(torch.ops.npu.npu_swiglu, (x,))


def test_swiglu_trains_under_torch_compile() -> None:
    x = torch.randn(4, 8, device="npu", requires_grad=True)
    step = torch.compile(lambda x: torch.ops.npu.npu_swiglu(x).sum(), backend="aot_eager")
    step(x).backward()
    compiled, x.grad = x.grad, None
    torch.ops.npu.npu_swiglu(x).sum().backward()
    assert torch.equal(compiled, x.grad)


def test_swiglu_keeps_no_graph_without_gradients() -> None:
    assert torch_npu_sim.npu_swiglu(torch.randn(4, 8, device="npu")).grad_fn is None
    x = torch.randn(4, 8, device="npu", requires_grad=True)
    with torch.no_grad():
        assert torch_npu_sim.npu_swiglu(x).grad_fn is None


@pytest.mark.parametrize(
    ("shape", "dim", "error", "text"),
    [
        ((4, 3), -1, ValueError, r"expected an even size along dim -1, got input of \[4, 3\]"),
        ((4, 4), 2, IndexError, r"expected dim in \[-2, 1\], got 2"),
    ],
)
def test_swiglu_refuses_what_has_no_halves(
    shape: tuple[int, ...], dim: int, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match="npu_swiglu: " + text):
        torch_npu_sim.npu_swiglu(torch.ones(shape, device="npu"), dim)
