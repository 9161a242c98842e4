"""npu_linear with its gradients, and the gradient of matmul's gradient, against torch's own."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("shape", [(3, 8, 5), (0, 4, 2), (1, 1, 1)])
def test_linear_multiplies_by_the_transposed_weight(
    shape: tuple[int, int, int], with_bias: bool, dtype: torch.dtype
) -> None:
    m, k, n = shape
    x, weight = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
    bias = torch.randn(n, dtype=dtype) if with_bias else None
    y = torch_npu_sim.npu_linear(*on_npu((x, weight, bias)))
    want = x.double() @ weight.double().t() + (0 if bias is None else bias.double())
    assert_equal(y, want.to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_linear, x, weight, bias)


@pytest.mark.parametrize("with_bias", [False, True])
def test_linear_has_gradients_of_input_weight_and_bias(with_bias: bool) -> None:
    x, weight, bias = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5)
    leaves = [x, weight, *([bias] if with_bias else [])]
    mine = [leaf.requires_grad_() for leaf in on_npu(leaves)]
    theirs = [leaf.clone().requires_grad_() for leaf in leaves]
    grad = torch.randn(3, 5)
    torch.autograd.backward(torch_npu_sim.npu_linear(*mine), on_npu(grad))
    torch.autograd.backward(torch.nn.functional.linear(*theirs), grad)
    for one, other in zip(mine, theirs, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert_equal(one.grad, other.grad)


def test_a_gradient_of_the_bias_alone_needs_no_product() -> None:
    x, weight = torch.randn(3, 4, device="npu"), torch.randn(5, 4, device="npu")
    bias = torch.randn(5, device="npu", requires_grad=True)
    y = torch_npu_sim.npu_linear(x, weight, bias)
    with torch_npu_sim.trace() as trace:
        y.backward(torch.ones(3, 5, device="npu"))
    assert torch.equal(bias.grad.cpu(), torch.full((5,), 3.0))  # type: ignore[union-attr]
    assert all("linear" not in kernel.name for kernel in trace.kernels)


def test_linear_passes_gradcheck() -> None:
    x, weight, bias = (
        torch.randn(shape, dtype=torch.float64, device="npu", requires_grad=True)
        for shape in ((2, 3), (4, 3), (4,))
    )
    assert torch.autograd.gradcheck(torch_npu_sim.npu_linear, (x, weight, bias))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"input": torch.ones(2, 3, 4)}, ValueError, r"input of \[m, k\]"),
        ({"weight": torch.ones(5, 3)}, ValueError, r"weight of \[n, k\]"),
        ({"weight": torch.ones(5, 4).half()}, TypeError, "of one floating dtype"),
        ({"bias": torch.ones(4)}, ValueError, r"bias of \[5\]"),
    ],
)
def test_linear_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call = {"input": torch.ones(2, 4), "weight": torch.ones(5, 4)} | change
    with pytest.raises(error, match="npu_linear: .*" + text):
        torch_npu_sim.npu_linear(**on_npu(call))


def test_linear_is_one_product_and_its_gradient_two() -> None:
    m, k, n = 64, 128, 32
    x, weight, grad = (torch.ones(s, device="npu") for s in ((m, k), (n, k), (m, n)))
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_linear(x, weight)
        torch_npu_sim.npu_linear_backward(grad, x, weight)
    assert [kernel.bytes_written for kernel in trace.kernels] == [4 * m * n, 4 * m * k, 4 * n * k]


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((4,), (4, 5)), ((3, 4), (4,))],
)
@pytest.mark.parametrize("absent", [None, 0, 1])
def test_double_backward_is_the_gradient_of_matmuls_gradient(
    absent: int | None, a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    left = torch.randn(a, requires_grad=True)
    right = torch.randn(b, requires_grad=True)
    out = left @ right
    grad = torch.randn_like(out).requires_grad_()
    firsts = torch.autograd.grad(out, (left, right), grad, create_graph=True)
    seeds = [torch.randn(a), torch.randn(b)]
    used = [place for place in (0, 1) if place != absent]
    want = torch.autograd.grad(
        [firsts[place] for place in used],
        (grad, left, right),
        [seeds[place] for place in used],
        allow_unused=True,
    )
    given = [seed if place in used else None for place, seed in enumerate(seeds)]
    tensors = [each if each is None else each.detach() for each in (*given, grad, left, right)]
    got = torch_npu_sim.matmul_double_backward(*on_npu(tensors), [True, True, True])
    for one, other in zip(got, want, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert_equal(one, other)


def test_double_backward_answers_what_the_mask_asks_for() -> None:
    a, b, grad = torch.randn(3, 4), torch.randn(4, 5), torch.randn(3, 5)
    got = torch_npu_sim.matmul_double_backward(*on_npu((a, b, grad, a, b)), [False, True, False])
    assert [one is None for one in got] == [True, False, True]
    with pytest.raises(ValueError, match="matmul_double_backward: expected grad_self"):
        torch_npu_sim.matmul_double_backward(*on_npu((b, b, grad, a, b)), [True, True, True])
