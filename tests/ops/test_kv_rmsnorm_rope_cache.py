"""Norm, rotation and cache of latent keys and values, against loops over tokens."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import cache as reference

LATENT, ROPE, TOKENS, BLOCKS = 64, 32, 16, 6
EPSILON = 1e-5
PAGED = ["PA", "PA_BNSD", "PA_NZ", "PA_BLK_BNSD", "PA_BLK_NZ"]


def operands(batch: int, length: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    shapes = {
        "kv": (batch, 1, length, LATENT + ROPE),
        "gamma": (LATENT,),
        "cos": (batch, 1, length, ROPE),
        "sin": (batch, 1, length, ROPE),
    }
    return {k: torch.randn(s, dtype=dtype) for k, s in shapes.items()}


def rows_of(x: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the rows of k_cache and of ckv_cache before rounding."""
    latent, rope = x["kv"].split([LATENT, ROPE], -1)
    k = reference.rotate_pairs(rope, x["cos"], x["sin"])
    return k.flatten(0, 2), reference.rms_norm(latent, x["gamma"], EPSILON).flatten(0, 2)


def index_of(mode: str, batch: int, length: int) -> tuple[torch.Tensor, list[int]]:
    """Returns an index with one negative place, and the slot of each token."""
    if "BLK" in mode:
        pages = -(-length // TOKENS)
        index = torch.randperm(BLOCKS)[: batch * pages] * TOKENS
        index[-1] = -1
        slots = [
            -1 if (first := int(index[b * pages + i // TOKENS])) < 0 else first + i % TOKENS
            for b in range(batch)
            for i in range(length)
        ]
        return index, slots
    index = torch.randperm(BLOCKS * TOKENS)[: batch * length]
    index[0] = -1
    return index, index.tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", PAGED)
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (2, 5), (2, 20)])
def test_rows_go_to_their_places(mode: str, batch: int, length: int, dtype: torch.dtype) -> None:
    x = operands(batch, length, dtype)
    index, slots = index_of(mode, batch, length)
    caches = [torch.full((BLOCKS, TOKENS, 1, w), 9.0, dtype=dtype) for w in (ROPE, LATENT)]
    args = [*x.values(), index, *caches]
    kwargs = {"cache_mode": mode, "is_output_kv": True}
    card = on_npu(args)
    k_cache, ckv_cache, k_rope, c_kv = torch_npu_sim.npu_kv_rmsnorm_rope_cache(*card, **kwargs)
    assert k_cache.data_ptr() == card[5].data_ptr()
    for got, cache, out, rows in zip(
        (k_cache, ckv_cache), caches, (k_rope, c_kv), rows_of(x), strict=True
    ):
        rounded = rows.to(dtype)
        if "NZ" in mode:
            want = reference.put_fractal(cache, rounded, slots, TOKENS, 16)
        else:
            want = reference.put(cache, rounded, slots)
        assert_equal(got, want)
        assert_equal(out, rounded.view(out.shape))
    assert_meta_agrees(torch.ops.npu.npu_kv_rmsnorm_rope_cache, *args, **kwargs)


def test_mode_norm_writes_places_of_each_sequence() -> None:
    x = operands(2, 3, torch.bfloat16)
    index = torch.tensor([[4, 0, 7], [-1, 2, 1]])
    caches = [torch.zeros(2, 1, 8, w, dtype=torch.bfloat16) for w in (ROPE, LATENT)]
    cards = on_npu(caches)
    torch_npu_sim.npu_kv_rmsnorm_rope_cache_v2(*on_npu([*x.values(), index]), *cards)
    slots = [b * 8 + i if i >= 0 else -1 for b in range(2) for i in index[b].tolist()]
    for got, cache, rows in zip(cards, caches, rows_of(x), strict=True):
        want = reference.put(cache.transpose(1, 2), rows.bfloat16(), slots).transpose(1, 2)
        assert_equal(got, want)


@pytest.mark.parametrize("mode", ["PA", "PA_NZ"])
@pytest.mark.parametrize("offset", [True, False])
def test_int8_caches_hold_scaled_rows(mode: str, offset: bool) -> None:
    x = operands(2, 3, torch.bfloat16)
    index, slots = index_of(mode, 2, 3)
    caches = [torch.zeros(BLOCKS, TOKENS, 1, w, dtype=torch.int8) for w in (ROPE, LATENT)]
    scales = [torch.rand(w) * 50 for w in (ROPE, LATENT)]
    offsets = [torch.rand(w) * 5 if offset else None for w in (ROPE, LATENT)]
    k_rope, c_kv, *got = torch_npu_sim.npu_kv_rmsnorm_rope_cache_v2_functional(
        *on_npu([*x.values(), index, *caches]),
        k_rope_scale=scales[0].npu(),
        c_kv_scale=scales[1].npu(),
        k_rope_offset=on_npu(offsets[0]),
        c_kv_offset=on_npu(offsets[1]),
        cache_mode=mode,
    )
    for card, cache, rows, scale, shift in zip(
        got, caches, rows_of(x), scales, offsets, strict=True
    ):
        coded = (rows * scale + (0 if shift is None else shift)).round().clamp(-128, 127).char()
        if mode == "PA_NZ":
            want = reference.put_fractal(cache, coded, slots, TOKENS, 32)
        else:
            want = reference.put(cache, coded, slots)
        # One ulp of the norm may tip a value that lies halfway.
        difference = (card.cpu().int() - want.int()).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.01
    assert not k_rope.any()
    assert not c_kv.any()


def test_hifloat8_and_fp8_caches_take_codes() -> None:
    x = operands(1, 4, torch.bfloat16)
    index = torch.arange(4)
    caches = [
        torch.zeros(BLOCKS, TOKENS, 1, ROPE, dtype=torch.uint8),
        torch.zeros(BLOCKS, TOKENS, 1, LATENT, dtype=torch.float8_e4m3fn),
    ]
    cards = [c.npu() for c in caches]
    torch_npu_sim.npu_kv_rmsnorm_rope_cache_v2(
        *on_npu([*x.values(), index]),
        *cards,
        k_rope_scale=torch.ones(1).npu(),
        c_kv_scale=torch.ones(LATENT).npu(),
        cache_mode="PA",
        k_cache_dtype=290,
    )
    assert cards[0][0, :4].any()
    want = rows_of(x)[1].to(torch.float8_e4m3fn)
    assert torch.equal(cards[1][0, :4, 0].cpu().view(torch.uint8), want.view(torch.uint8))


def test_the_form_with_v_normalises_the_whole_row() -> None:
    kv, v = torch.randn(2, 1, 3, 192), torch.randn(2, 1, 3, 128)
    gamma, cos, sin = torch.randn(192), torch.randn(2, 1, 3, 64), torch.randn(2, 1, 3, 64)
    caches = [torch.zeros(2, TOKENS, 1, w) for w in (192, 128)]
    index = torch.arange(6)
    k_cache, ckv_cache, *_ = torch_npu_sim.npu_kv_rmsnorm_rope_cache(
        *on_npu((kv, gamma, cos, sin, index, *caches)), v=v.npu(), cache_mode="PA"
    )
    y = reference.rms_norm(kv, gamma, EPSILON)
    k = torch.cat((reference.rotate_pairs(y[..., :64], cos, sin), y[..., 64:]), -1)
    assert_equal(k_cache, reference.put(caches[0], k.flatten(0, 2), list(range(6))))
    assert_equal(ckv_cache, reference.put(caches[1], v.flatten(0, 2), list(range(6))))


@pytest.mark.parametrize("mode", ["Norm", "PA", "PA_BLK_NZ"])
def test_heads_of_a_token_lie_together(mode: str) -> None:
    batch, heads, length = 2, 3, 5
    kv = torch.randn(batch, heads, length, LATENT + ROPE)
    gamma, cos, sin = (
        torch.randn(LATENT),
        torch.randn(batch, 1, 1, ROPE),
        torch.randn(batch, 1, 1, ROPE),
    )
    latent, rope = kv.split([LATENT, ROPE], -1)
    rows = reference.rotate_pairs(rope, cos, sin), reference.rms_norm(latent, gamma, EPSILON)
    scales = [torch.rand(heads, w) * 20 for w in (ROPE, LATENT)]
    coded = [
        (r * s[:, None]).round().clamp(-128, 127).to(torch.int8)
        for r, s in zip(rows, scales, strict=True)
    ]
    if mode == "Norm":
        index = torch.stack([torch.randperm(8)[:length] for _ in range(batch)])
        caches = [torch.zeros(batch, heads, 8, w, dtype=torch.int8) for w in (ROPE, LATENT)]
    else:
        index, slots = index_of(mode, batch, length)
        caches = [torch.zeros(BLOCKS, TOKENS, heads, w, dtype=torch.int8) for w in (ROPE, LATENT)]
    _, _, *got = torch_npu_sim.npu_kv_rmsnorm_rope_cache_v2_functional(
        *on_npu((kv, gamma, cos, sin, index, *caches)),
        k_rope_scale=scales[0].npu(),
        c_kv_scale=scales[1].npu(),
        cache_mode=mode,
    )
    for card, cache, codes in zip(got, caches, coded, strict=True):
        want = cache.clone()
        tokens = codes.transpose(1, 2).reshape(batch * length, -1)
        if mode == "Norm":
            for b in range(batch):
                want[b][:, index[b]] = codes[b]
        elif mode == "PA":
            want = reference.put(want, tokens, slots)
        else:
            want = reference.put_fractal(want, tokens, slots, TOKENS, 32)
        difference = (card.cpu().int() - want.int()).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.01


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"cache_mode": "NZ"}, ValueError, "expected cache_mode Norm, PA"),
        ({"kv": torch.ones(1, 1, 2, 9)}, ValueError, "expected kv as wide as gamma and cos"),
        ({"kv": torch.ones(1, 2, 96)}, ValueError, "expected kv of .batch, heads, tokens"),
        ({"index": torch.arange(3)}, ValueError, "expected index of 2 elements"),
        ({"index": torch.tensor([0, 96])}, IndexError, "expected index below 96"),
        ({"index": torch.ones(2)}, TypeError, "expected index of int32 or int64"),
        ({"k_rope_scale": torch.ones(ROPE)}, ValueError, "expected no k_rope_scale"),
        (
            {"k_cache": torch.zeros(BLOCKS, TOKENS, 1, ROPE, dtype=torch.int8)},
            ValueError,
            "expected k_rope_scale for a cache of Char",
        ),
        (
            {"ckv_cache": torch.ones(BLOCKS, TOKENS, 1, 3)},
            ValueError,
            "expected ckv_cache of 4 axes",
        ),
    ],
)
def test_a_wrong_argument_is_named(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    arguments = operands(1, 2, torch.float32) | {
        "index": torch.arange(2),
        "k_cache": torch.zeros(BLOCKS, TOKENS, 1, ROPE),
        "ckv_cache": torch.zeros(BLOCKS, TOKENS, 1, LATENT),
        "cache_mode": "PA",
    }
    with pytest.raises(error, match=f"npu_kv_rmsnorm_rope_cache: {text}"):
        torch_npu_sim.npu_kv_rmsnorm_rope_cache(**on_npu(arguments | change))
