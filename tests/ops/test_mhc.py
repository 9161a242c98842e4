"""Hyper-connections against their formulas in plain torch, gradients against autograd's."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu


def sinkhorn(x: torch.Tensor, eps: float, iterations: int) -> torch.Tensor:
    y = torch.softmax(x, -1) + eps
    y = y / (y.sum(-2, keepdim=True) + eps)
    for _ in range(iterations - 1):
        y = y / (y.sum(-1, keepdim=True) + eps)
        y = y / (y.sum(-2, keepdim=True) + eps)
    return y


def post(
    x: torch.Tensor, h_res: torch.Tensor | None, h_out: torch.Tensor, h_post: torch.Tensor
) -> torch.Tensor:
    shared = torch.einsum("...j,...d->...jd", h_post, h_out.float())
    mixed = x.float() if h_res is None else torch.einsum("...ij,...id->...jd", h_res, x.float())
    return (shared + mixed).to(x.dtype)


def pre(x: torch.Tensor, phi: torch.Tensor, alpha: torch.Tensor, bias: torch.Tensor, gamma: Any):  # type: ignore[no-untyped-def]
    n = x.shape[-2]
    flat = x.float().flatten(-2)
    rms = torch.sqrt(flat.pow(2).mean(-1, keepdim=True) + 1e-6)
    weighted = flat if gamma is None else flat * gamma.flatten()
    mix = weighted @ phi.t() / rms
    h_pre = torch.sigmoid(alpha[0] * mix[..., :n] + bias[:n]) + 1e-6
    h_post = 2 * torch.sigmoid(alpha[1] * mix[..., n : 2 * n] + bias[n : 2 * n])
    h_in = torch.einsum("...i,...id->...d", h_pre, x.float()).to(x.dtype)
    if alpha.numel() == 2:
        return h_in, h_post
    h_res = (alpha[2] * mix[..., 2 * n :] + bias[2 * n :]).unflatten(-1, (n, n))
    return h_in, h_post, h_res


def pre_inputs(shape: tuple[int, ...], dtype: torch.dtype, residual: bool = True) -> list[Any]:
    *_, n, width = shape
    rows = 2 * n + (n * n if residual else 0)
    x = torch.randn(shape, dtype=dtype)
    phi, bias = torch.randn(rows, n * width) / (n * width) ** 0.5, torch.randn(rows)
    return [x, phi, torch.randn(3 if residual else 2), bias, torch.rand(n, width) + 0.5]


def assert_gradients_agree(npu: Any, reference: Any, inputs: list[torch.Tensor]) -> None:
    """Weighs all results by the same random numbers, and compares the gradients of the inputs."""
    leaves = [x.requires_grad_() for x in inputs]
    on_card = on_npu(leaves)
    want, got = reference(*leaves), npu(*on_card)
    weights = [torch.randn(y.shape) for y in want]
    sum((y.float() * w).sum() for y, w in zip(want, weights, strict=True)).backward()
    sum((y.float() * w.npu()).sum() for y, w in zip(got, weights, strict=True)).backward()
    for leaf, card in zip(leaves, on_card, strict=True):
        torch.testing.assert_close(card.grad.cpu(), leaf.grad, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 6, 6), (1, 8, 8), (0, 4, 4)])
@pytest.mark.parametrize("iterations", [1, 2, 20])
def test_sinkhorn_normalises_columns_and_rows_by_turns(
    shape: tuple[int, ...], iterations: int
) -> None:
    x = torch.randn(shape)
    y, norm, sums = torch_npu_sim.npu_mhc_sinkhorn(on_npu(x), num_iters=iterations)
    assert norm is None
    assert sums is None
    assert_equal(y, sinkhorn(x, 1e-6, iterations))


def test_the_history_of_sinkhorn_has_the_cards_sizes() -> None:
    x = torch.randn(2, 3, 4, 4)
    _, norm, sums = torch_npu_sim.npu_mhc_sinkhorn(on_npu(x), num_iters=5, out_flag=1)
    assert norm.shape == (2 * 5 * 6 * 4 * 8,)
    assert sums.shape == (2 * 5 * 6 * 8,)
    assert_meta_agrees(torch.ops.npu.npu_mhc_sinkhorn, x, num_iters=5, out_flag=1)


def test_the_gradient_of_sinkhorn_is_autograds() -> None:
    assert_gradients_agree(
        lambda x: [torch.ops.npu.npu_mhc_sinkhorn(x, num_iters=6, out_flag=1)[0]],
        lambda x: [sinkhorn(x, 1e-6, 6)],
        [torch.randn(5, 4, 4)],
    )


def test_the_gradient_of_sinkhorn_needs_the_history() -> None:
    x = torch.randn(5, 4, 4, device="npu", requires_grad=True)
    y = torch.ops.npu.npu_mhc_sinkhorn(x)[0]
    with pytest.raises(ValueError, match="expected the history .* with out_flag=1"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (torch.ones(4, 4), ValueError, "expected x of 3 or 4 axes"),
        (torch.ones(1, 5, 5), ValueError, "expected square matrices of 4, 6 or 8 streams"),
        (torch.ones(1, 4, 6), ValueError, "expected square matrices"),
        (torch.ones(1, 4, 4).half(), TypeError, "expected x of float32"),
    ],
)
def test_sinkhorn_refuses_what_is_no_mixing_matrix(
    x: torch.Tensor, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        torch_npu_sim.npu_mhc_sinkhorn(x.npu())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tokens", [(5,), (2, 3)])
@pytest.mark.parametrize("mixes", [True, False])
def test_post_mixes_the_streams_and_adds_the_output(
    tokens: tuple[int, ...], mixes: bool, dtype: torch.dtype
) -> None:
    x, h_out = torch.randn(*tokens, 4, 32).to(dtype), torch.randn(*tokens, 32).to(dtype)
    h_res = torch.randn(*tokens, 4, 4) if mixes else None
    h_post = torch.randn(*tokens, 4)
    y = torch_npu_sim.npu_mhc_post(*on_npu((x, h_res, h_out, h_post)))
    assert_equal(y, post(x, h_res, h_out, h_post))


def test_the_gradient_of_post_is_autograds() -> None:
    inputs = [torch.randn(s) for s in ((3, 4, 16), (3, 4, 4), (3, 16), (3, 4))]
    assert_gradients_agree(
        lambda *a: [torch.ops.npu.npu_mhc_post(*a)], lambda *a: [post(*a)], inputs
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 4, 16), (2, 3, 6, 16)])
@pytest.mark.parametrize("with_gamma", [True, False])
def test_pre_gives_gates_and_the_blocks_input(
    shape: tuple[int, ...], with_gamma: bool, dtype: torch.dtype
) -> None:
    *inputs, gamma = pre_inputs(shape, dtype)
    gamma = gamma if with_gamma else None
    got = torch_npu_sim.npu_mhc_pre(*on_npu(inputs), gamma=on_npu(gamma))
    for npu, cpu in zip(got[:3], pre(*inputs, gamma), strict=True):
        assert (npu.shape, npu.dtype) == (cpu.shape, cpu.dtype)
        torch.testing.assert_close(
            npu.cpu(), cpu, rtol=1e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-4
        )
    assert [tuple(x.shape[:-1]) for x in got[4:]] == [shape[:-2]] * 2


def test_pre_has_a_form_without_a_mixing_matrix() -> None:
    *inputs, gamma = pre_inputs((5, 4, 16), torch.float32, residual=False)
    h_in, h_post, h_res, *_ = torch_npu_sim.npu_mhc_pre(*on_npu(inputs), gamma=on_npu(gamma))
    for npu, cpu in zip((h_in, h_post), pre(*inputs, gamma), strict=True):
        torch.testing.assert_close(npu.cpu(), cpu, rtol=1e-4, atol=1e-5)
    assert h_res.shape == (1,)


def test_pre_in_hf32_rounds_the_products_operands_to_ten_bits() -> None:
    *inputs, _ = pre_inputs((5, 4, 16), torch.float32)
    exact = torch_npu_sim.npu_mhc_pre(*on_npu(inputs), inner_precise=0)[4]
    rounded = torch_npu_sim.npu_mhc_pre(*on_npu(inputs), inner_precise=1)[4]
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=2**-9, atol=2**-9)


def test_the_gradient_of_pre_is_autograds() -> None:
    def npu(x, phi, alpha, bias, gamma):  # type: ignore[no-untyped-def]
        return torch.ops.npu.npu_mhc_pre(x, phi, alpha, bias, gamma=gamma, out_flag=1)[:3]

    assert_gradients_agree(npu, pre, pre_inputs((5, 4, 16), torch.float32))


def test_pre_refuses_a_projection_of_another_width() -> None:
    x, phi, alpha, bias, _ = pre_inputs((5, 4, 16), torch.float32)
    with pytest.raises(ValueError, match=r"npu_mhc_pre: expected phi of \[24, 64\], got \[24, 63"):
        torch_npu_sim.npu_mhc_pre(*on_npu((x, phi[:, :-1], alpha, bias)))
