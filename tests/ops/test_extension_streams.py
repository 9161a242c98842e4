"""Hyper-connections and partial rotation of the extension against their formulas."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import extension

torch_npu_sim.enable_custom_ops()
ops = torch.ops.custom

BF16 = torch.bfloat16
SHAPES = [(1, 4, 64), (5, 4, 96), (2, 3, 4, 32)]


def gates(shape: tuple[int, ...]) -> list[torch.Tensor]:
    width = 4 * shape[-1]
    x = torch.randn(shape, dtype=BF16)
    return [x, torch.randn(24, width) / width**0.5, torch.randn(3), torch.randn(24)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("iterations", [1, 20])
def test_hc_pre_is_gates_and_sinkhorn(shape: tuple[int, ...], iterations: int) -> None:
    inputs = gates(shape)
    y, post, comb = ops.npu_hc_pre(*on_npu(inputs), hc_sinkhorn_iters=iterations)
    want = extension.hc_pre(*inputs, iterations=iterations)
    for got, expected in zip((y, post, comb), want, strict=True):
        assert got.dtype == expected.dtype
        torch.testing.assert_close(got.cpu(), expected, rtol=8e-3, atol=2e-5)
    assert_meta_agrees(ops.npu_hc_pre, *inputs)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_parts_of_hc_pre_make_the_whole(shape: tuple[int, ...]) -> None:
    x, fn, scale, base = on_npu(gates(shape))
    cut = (fn.view(torch.int32) >> 13 << 13).view(torch.float32)
    mixes = x.float().flatten(-2) @ cut.T
    rsqrt = ops.npu_hc_pre_inv_rms(x, epsilon=1e-6)
    assert_equal(rsqrt, x.cpu().float().flatten(-2).pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt())
    parts = ops.npu_hc_pre_sinkhorn(mixes, rsqrt, scale, base, x, hc_eps=1e-6)
    whole = ops.npu_hc_pre(x, fn, scale, base)
    for part, same in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, same, rtol=1e-4, atol=1e-5)
    assert_meta_agrees(
        ops.npu_hc_pre_sinkhorn, mixes.cpu(), rsqrt.cpu(), scale.cpu(), base.cpu(), x.cpu()
    )
    assert_meta_agrees(ops.npu_hc_pre_inv_rms, x.cpu())


def test_the_mixing_matrix_is_doubly_stochastic() -> None:
    _, _, comb = ops.npu_hc_pre(*on_npu(gates((7, 4, 32))))
    torch.testing.assert_close(comb.sum(-1).cpu(), torch.ones(7, 4), rtol=0, atol=1e-3)
    torch.testing.assert_close(comb.sum(-2).cpu(), torch.ones(7, 4), rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, BF16])
def test_hc_post_mixes_along_the_first_axis(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tokens = shape[:-2]
    inputs = [
        torch.randn(*tokens, shape[-1], dtype=dtype),
        torch.randn(shape, dtype=dtype),
        torch.rand(*tokens, 4),
        torch.rand(*tokens, 4, 4),
    ]
    assert_equal(ops.npu_hc_post(*on_npu(inputs)), extension.hc_post(*inputs))
    assert_meta_agrees(ops.npu_hc_post, *inputs)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({0: torch.zeros(2, 3, 8, dtype=BF16)}, "x with 4 streams"),
        ({0: torch.zeros(2, 4, 8)}, "x of bfloat16"),
        ({0: torch.zeros(0, 4, 8, dtype=BF16)}, "no empty axis"),
        ({1: torch.zeros(24, 31)}, "hc_fn of"),
        ({1: torch.zeros(24, 32, dtype=BF16)}, "hc_fn of float32"),
        ({2: torch.zeros(2)}, "hc_scale of"),
        ({3: torch.zeros(23)}, "hc_base of"),
    ],
)
def test_hc_pre_names_the_argument_it_refuses(change: dict[int, torch.Tensor], text: str) -> None:
    inputs = gates((2, 4, 8))
    for index, tensor in change.items():
        inputs[index] = tensor
    with pytest.raises((ValueError, TypeError), match=f"npu_hc_pre: expected .*{text}"):
        ops.npu_hc_pre(*on_npu(inputs))


@pytest.mark.parametrize("options", [{"hc_mult": 3}, {"hc_sinkhorn_iters": 0}])
def test_hc_pre_refuses_modes_of_no_card(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"npu_hc_pre: expected {next(iter(options))}"):
        ops.npu_hc_pre(*on_npu(gates((2, 4, 8))), **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, BF16])
@pytest.mark.parametrize("angles", [(2, 3, 1), (2, 1, 1), (1, 1, 1)])
def test_rotation_turns_the_slice_alone(angles: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 4, 24, dtype=dtype)
    cos, sin = torch.randn(*angles, 8), torch.randn(*angles, 8)
    want = extension.partial_rotary(x, cos, sin, 12, 20).to(dtype)
    turned = x.npu()
    assert (
        ops.inplace_partial_rotary_mul(
            turned, cos.npu(), sin.npu(), rotary_mode="interleave", partial_slice=[12, 20]
        )
        is None
    )
    assert_equal(turned, want)


def test_rotation_writes_through_a_view() -> None:
    x = torch.randn(5, 3, 16, dtype=BF16)
    cos, sin = torch.randn(5, 1, 1, 4), torch.randn(5, 1, 1, 4)
    turned = x.npu()
    ops.inplace_partial_rotary_mul(
        turned.unsqueeze(2), cos.npu(), sin.npu(), rotary_mode="interleave", partial_slice=[12, 16]
    )
    want = extension.partial_rotary(x.unsqueeze(2), cos, sin, 12, 16).squeeze(2)
    assert_equal(turned, want.to(BF16))


@pytest.mark.parametrize("mode", ["interleave", "half"])
def test_quantised_rotation_ends_in_hifloat8(mode: str) -> None:
    x = torch.randn(2, 3, 1, 16, dtype=BF16)
    cos, sin = torch.randn(2, 3, 1, 8), torch.randn(2, 3, 1, 8)
    options: dict[str, Any] = {"rotary_mode": mode, "partial_slice": [8, 16]}
    codes = ops.partial_rotary_mul_quant(x.npu(), cos.npu(), sin.npu(), scale=2.0, **options)
    part = torch_npu_sim.npu_rotary_mul(
        x[..., 8:].float().npu(), cos.npu(), sin.npu(), rotary_mode=mode
    )
    turned = torch.cat([x[..., :8].float(), part.cpu()], -1) * 2
    assert codes.dtype == torch.uint8
    values = extension.hifloat8(codes.cpu())
    assert torch.equal(values, extension.to_hifloat8(turned))
    assert_meta_agrees(ops.partial_rotary_mul_quant, x, cos, sin, **options)


@pytest.mark.parametrize(
    ("x", "angles", "options", "text"),
    [
        ((2, 3, 16), (2, 1, 1, 4), {}, "x of \\[batch"),
        ((1, 1, 1, 16), (1, 1, 1, 6), {}, "r1 and r2 of 4 axes"),
        ((1, 1, 1, 16), (1, 1, 1, 4), {"partial_slice": [14, 18]}, "partial_slice"),
        ((1, 1, 1, 16), (1, 1, 1, 4), {"rotary_mode": "half"}, "rotary_mode"),
        ((2, 3, 1, 16), (3, 3, 1, 4), {}, "broadcast"),
    ],
)
def test_rotation_names_the_argument_it_refuses(
    x: tuple[int, ...], angles: tuple[int, ...], options: dict[str, Any], text: str
) -> None:
    tensor, angle = torch.zeros(x, device="npu"), torch.zeros(angles, device="npu")
    options = {"rotary_mode": "interleave", "partial_slice": [12, 16]} | options
    with pytest.raises(ValueError, match=f"inplace_partial_rotary_mul: expected .*{text}"):
        ops.inplace_partial_rotary_mul(tensor, angle, angle, **options)
