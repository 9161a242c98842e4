"""Softmax of scores as an operator of its own, against torch's softmax in fp32."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

OPS = torch.ops.npu
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SHAPES = [((2, 3, 4, 8), (2, 1, 4, 8)), ((3, 5), (5,)), ((0, 4), (0, 4)), ((1, 1, 1, 1), (1,))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "mask_shape"), SHAPES)
def test_scaled_masked_softmax_and_its_gradient(
    shape: tuple[int, ...], mask_shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, mask = torch.randn(shape).to(dtype).requires_grad_(), torch.rand(mask_shape) < 0.4
    want = (x.float() * 0.7).masked_fill(mask, -10000).softmax(-1).to(dtype)
    ours = on_npu(x)
    got = torch_npu_sim.npu_scaled_masked_softmax(ours, mask.npu(), 0.7)
    assert_equal(got, want.detach())
    grad = torch.randn(shape).to(dtype)
    got.backward(grad.npu())
    y = want.detach().float()
    d = (grad.float() - (grad.float() * y).sum(-1, True)) * y * 0.7
    assert_equal(ours.grad, d.masked_fill(mask, 0).to(dtype))
    assert_meta_agrees(OPS.npu_scaled_masked_softmax, x.detach(), mask, 2)


def test_a_row_of_hidden_scores_is_even() -> None:
    x, mask = torch.randn(2, 4).npu(), torch.ones(2, 4, dtype=torch.bool).npu()
    assert torch.equal(
        torch_npu_sim.npu_scaled_masked_softmax(x, mask).cpu(), torch.full((2, 4), 0.25)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_softmax_in_place_and_its_gradient(dtype: torch.dtype) -> None:
    x = torch.randn(2, 5, 7).to(dtype)
    grad, values = torch.randn(2, 5, 4).to(dtype), torch.randn(2, 7, 4).to(dtype)
    ours = x.npu()
    result = torch_npu_sim.npu_attn_softmax_(ours)
    want = x.float().softmax(-1).to(dtype)
    assert result is ours
    assert_equal(ours, want)
    torch_npu_sim.npu_attn_softmax_backward_(ours, grad.npu(), values.npu())
    inner, y = grad.float() @ values.float().mT, want.float()
    d = ((inner - (inner * y).sum(-1, True)) * y).to(dtype)
    torch.testing.assert_close(ours.cpu(), d, rtol=2e-2, atol=2e-2 if dtype.itemsize == 2 else 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_relative_positions_and_masks_are_added(
    masked: bool, flat: bool, dtype: torch.dtype
) -> None:
    x = torch.randn(2, 3, 4, 5, 6).to(dtype)
    bias, mask = torch.randn(4, 5, 6).to(dtype), torch.randn(3, 5, 6).to(dtype)
    scores = x.float() * 0.5 + bias.float()
    if masked:
        scores = scores + mask.float()[None, :, None]
    want = scores.softmax(-1).to(dtype)
    given: list[Any] = [x, mask[None, :, None] if masked else None, bias[None, None]]
    if flat:
        given = [x.flatten(0, 1), mask[:, None] if masked else None, bias[None]]
        want = want.flatten(0, 1)
    got = torch_npu_sim.npu_masked_softmax_with_rel_pos_bias(*on_npu(given), 0.5)
    assert_equal(got, want)
    assert_meta_agrees(OPS.npu_masked_softmax_with_rel_pos_bias, *given)


def test_errors_name_the_argument() -> None:
    x, mask = torch.zeros(2, 4), torch.zeros(2, 4, dtype=torch.bool)

    def fails(op: str, match: str, *args: Any, error: type[Exception] = ValueError) -> None:
        with pytest.raises(error, match=f"{op}: expected .*{match}"):
            getattr(OPS, op)(*on_npu(args))

    fails("npu_scaled_masked_softmax", "x of", x.double(), mask, error=TypeError)
    fails("npu_scaled_masked_softmax", "mask of bool", x, x, error=TypeError)
    fails("npu_scaled_masked_softmax", "mask that broadcasts", x, mask[:, :3])
    fails("npu_scaled_masked_softmax", "fixed_triu_mask", x, mask, 1, True)
    fails("npu_scaled_masked_softmax_backward", "y of", x, x[:1], mask, 1, False)
    fails("npu_attn_softmax_", "input", x.int(), error=TypeError)
    fails("npu_attn_softmax_backward_", "grad_output", x, x, x[:, :3])
    fails("npu_attn_softmax_backward_", "input of", x, x, x)
    windows, bias = torch.zeros(2, 3, 4, 4), torch.zeros(3, 4, 4)
    op = "npu_masked_softmax_with_rel_pos_bias"
    fails(op, "x of", x, None, bias)
    fails(op, "relative_pos_bias", windows, None, bias[:2])
    fails(op, "atten_mask", windows, torch.zeros(3, 4, 4), bias)


def test_a_softmax_reads_and_writes_its_rows() -> None:
    x, mask = torch.zeros(64, 1024).half().npu(), torch.zeros(64, 1024, dtype=torch.bool).npu()
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_scaled_masked_softmax(x, mask)
        torch_npu_sim.npu_attn_softmax_(x)
        torch_npu_sim.npu_attn_softmax_backward_(x, x[:, :32], torch.zeros(1024, 32).half().npu())
    masked, plain, product, gradient = [k for k in trace.kernels if k.op.startswith("npu::")]
    assert (masked.bytes_read, masked.bytes_written) == (64 * 1024 * 3, 64 * 1024 * 2)
    assert (plain.bytes_read, plain.bytes_written) == (64 * 1024 * 2, 64 * 1024 * 2)
    assert product.work.startswith("matmul") and gradient.bytes_written == 64 * 1024 * 2
