"""Joint projections cut, rotated and stored in caches, against loops over tokens."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import cache as reference

WIDTH, Q_HEADS, KV_HEADS, BLOCKS, TOKENS = 32, 3, 2, 4, 16


def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates halves of the last axis; x [tokens, heads, WIDTH], angles [tokens, WIDTH]."""
    half = WIDTH // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cos.float()[:, None] + turned * sin.float()[:, None]


def assert_codes(got: torch.Tensor, want: torch.Tensor) -> None:
    """int8 values, of which few differ by one where rounding tips."""
    difference = (got.cpu().int() - want.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.02


@pytest.mark.parametrize("quantises", [True, False])
@pytest.mark.parametrize("outputs", [True, False])
def test_heads_are_normalised_rotated_and_stored_in_fractals(
    outputs: bool, quantises: bool
) -> None:
    tokens, heads = 6, [Q_HEADS, KV_HEADS, KV_HEADS]
    qkv = torch.randn(tokens, sum(heads) * WIDTH).half()
    gammas = [torch.randn(WIDTH).half() for _ in range(2)]
    cos, sin = (torch.randn(tokens, WIDTH).half() for _ in range(2))
    index = torch.randperm(BLOCKS * TOKENS)[:tokens]
    index[2] = -1
    dtype, piece = (torch.int8, 32) if quantises else (torch.float16, 16)
    row = KV_HEADS * WIDTH
    caches = [torch.zeros(BLOCKS, row // piece, TOKENS, piece, dtype=dtype) for _ in range(2)]
    scales = {k: torch.rand(KV_HEADS, WIDTH) * 0.05 + 0.01 for k in ("k_scale", "v_scale")}
    kwargs: dict[str, Any] = {
        "qkv_size": [2, 3, sum(heads), WIDTH],
        "head_nums": heads,
        "is_output_qkv": outputs,
    } | (scales if quantises else {})
    q_out = torch.zeros(tokens, Q_HEADS * WIDTH).half()
    args = qkv, *gammas, cos, sin, index, q_out, *caches
    *before, q, k_cache, v_cache = torch_npu_sim.npu_qkv_rms_norm_rope_cache_functional(
        *on_npu(args), **on_npu(kwargs)
    )
    x = qkv.float().view(tokens, -1, WIDTH)
    parts = x.split(heads, 1)
    want = [turn(reference.rms_norm(parts[i], gammas[i], 1e-6), cos, sin) for i in range(2)] + [
        parts[2]
    ]
    assert_equal(q, want[0].flatten(1).half())
    for cache, values, name in zip((k_cache, v_cache), want[1:], scales, strict=True):
        if quantises:
            coded = (values / scales[name]).round().clamp(-128, 127).to(torch.int8)
        else:
            coded = values.half()
        expected = reference.put_fractal(
            torch.zeros_like(caches[0]), coded.flatten(1), index.tolist(), TOKENS, piece
        )
        if quantises:
            assert_codes(cache, expected)
        else:
            assert_equal(cache, expected)
    if outputs:
        for got, values in zip(before, want, strict=True):
            assert_equal(got, values.flatten(1).half())
        op = torch.ops.npu.npu_qkv_rms_norm_rope_cache_functional
        assert_meta_agrees(op, *args, **kwargs)
    else:
        assert before == [None, None, None]


@pytest.mark.parametrize("dequantises", [True, False])
@pytest.mark.parametrize("mode", ["contiguous", "page"])
def test_keys_and_values_are_quantised_into_their_places(mode: str, dequantises: bool) -> None:
    batch, length = 2, 3
    splits = [Q_HEADS * WIDTH, KV_HEADS * WIDTH, KV_HEADS * WIDTH]
    cos, sin = (torch.randn(batch, length, 1, WIDTH).half() for _ in range(2))
    kwargs: dict[str, Any] = {"cache_mode": mode, "kv_output": True, "offset_k": torch.rand(WIDTH)}
    if dequantises:
        x = torch.randint(-900, 900, (batch, length, sum(splits))).int()
        factors = {
            "weight_scale": torch.rand(sum(splits)) * 0.01,
            "activation_scale": torch.rand(batch * length) + 0.5,
            "bias": torch.randn(sum(splits)),
        }
        wide = x.float() * factors["weight_scale"]
        wide = wide * factors["activation_scale"].view(batch, length, 1) + factors["bias"]
        kwargs |= factors
        op = torch_npu_sim.npu_dequant_rope_quant_kvcache
    else:
        x = torch.randn(batch, length, sum(splits)).half()
        wide, op = x.float(), torch_npu_sim.npu_rope_quant_kvcache
    scales = [torch.rand(WIDTH) * 20 for _ in range(2)]
    if mode == "page":
        caches = [torch.zeros(BLOCKS, TOKENS, KV_HEADS, WIDTH, dtype=torch.int8) for _ in range(2)]
        indices = torch.randperm(BLOCKS * TOKENS)[: batch * length].int()
        slots = indices.tolist()
    else:
        caches = [torch.zeros(batch, TOKENS, KV_HEADS, WIDTH, dtype=torch.int8) for _ in range(2)]
        indices = torch.tensor([5, 0]).int()
        slots = [b * TOKENS + int(indices[b]) + i for b in range(batch) for i in range(length)]
    args = x, cos, sin, *caches, indices, *scales, splits
    card = on_npu(args)
    q, k, v, k_cache, v_cache = op(*card, **on_npu(kwargs))
    assert k_cache.data_ptr() == card[3].data_ptr()
    parts = [p.reshape(batch * length, -1, WIDTH) for p in wide.split(splits, -1)]
    angles = cos.view(-1, WIDTH), sin.view(-1, WIDTH)
    want_q, want_k = (turn(p, *angles) for p in parts[:2])
    assert_equal(q, want_q.half().view(batch, length, Q_HEADS, WIDTH))
    assert_equal(k, want_k.half().view(batch, length, KV_HEADS, WIDTH))
    assert_equal(v, parts[2].half().view(batch, length, KV_HEADS, WIDTH))
    coded = want_k * scales[0] + kwargs["offset_k"], parts[2] * scales[1]
    for cache, values in zip((k_cache, v_cache), coded, strict=True):
        codes = values.round().clamp(-128, 127).to(torch.int8)
        assert_codes(cache, reference.put(torch.zeros_like(cache.cpu()), codes, slots))


def test_a_place_beyond_the_cache_is_an_index_error() -> None:
    x, angles = torch.ones(1, 2, 3 * WIDTH), torch.ones(1, 2, 1, WIDTH)
    cache = torch.zeros(1, 4, 1, WIDTH, dtype=torch.int8)
    with pytest.raises(IndexError, match=r"expected indices in \[0, 2\], got 3"):
        torch_npu_sim.npu_rope_quant_kvcache(
            *on_npu((x, angles, angles, cache, cache, torch.tensor([3]).int())),
            *on_npu((torch.ones(WIDTH), torch.ones(WIDTH))),
            [WIDTH] * 3,
        )


def test_the_only_cache_mode_of_the_joint_norm_is_nz() -> None:
    x = torch.ones(1, 3 * WIDTH)
    g, cache = torch.ones(WIDTH), torch.zeros(1, 4, 16, 8)
    with pytest.raises(ValueError, match="expected cache_mode PA_NZ"):
        torch_npu_sim.npu_qkv_rms_norm_rope_cache(
            *on_npu((x, g, g, g[None], g[None], torch.zeros(1).long(), g[None], cache, cache)),
            qkv_size=[1, 1, 3, WIDTH],
            head_nums=[1, 1, 1],
            cache_mode="PA",
        )
