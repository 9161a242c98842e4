"""The prolog of latent attention against its formula in plain torch."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import cache as cache_reference
from torch_npu_sim.testing.reference import mla as reference

HIDDEN, DOWN, HEADS, NOPE, LATENT, ROPE = 128, 64, 3, 32, 256, 64
BLOCKS, PAGE = 4, 16
WEIGHTS = ("down", "up", "keys")
NARROW = {1: torch.int8, 2: torch.int8, 3: torch.float8_e4m3fn, 4: torch.float8_e4m3fn}
Tensors = dict[str, torch.Tensor]


def bf16_operands(shape: tuple[int, ...]) -> Tensors:
    sizes = {
        "x": (*shape, HIDDEN),
        "down": (HIDDEN, DOWN),
        "up": (DOWN, HEADS * (NOPE + ROPE)),
        "absorb": (HEADS, NOPE, LATENT),
        "keys": (HIDDEN, LATENT + ROPE),
        "gamma_q": (DOWN,),
        "gamma_k": (LATENT,),
        "sin": (*shape, ROPE),
        "cos": (*shape, ROPE),
    }
    return {k: torch.randn(s).bfloat16() for k, s in sizes.items()}


def e8m0(*shape: int) -> torch.Tensor:
    return torch.randint(124, 130, shape, dtype=torch.uint8).view(torch.float8_e8m0fnu)


def quantise(t: Tensors, mode: int) -> tuple[Tensors, Tensors, Tensors]:
    """Returns the operands of a weight_quant_mode, their scales, and their fp32 values."""
    names = ("up",) if mode == 1 else ("x", *WEIGHTS) if mode else ()
    given, scales = dict(t), {}
    values = {k: v.float() for k, v in t.items()}
    for name in names:
        flat = t[name].flatten(0, -2).float()
        if mode == 3:
            rows = flat if name == "x" else flat.T
            codes = rows.to(torch.float8_e4m3fn)
            scales[name] = e8m0(rows.shape[0], rows.shape[1] // 32)
            wide = reference.expand(codes, scales[name], 32)
            given[name] = (codes if name == "x" else codes.T.contiguous()).view(t[name].shape)
            values[name] = (wide if name == "x" else wide.T).reshape(t[name].shape)
        else:
            rows = flat if name == "x" else flat.T
            codes, scale = reference.quantise_rows(rows, NARROW[mode])
            scales[name] = scale if name == "x" else scale.T.contiguous()
            given[name] = (codes if name == "x" else codes.T.contiguous()).view(t[name].shape)
            values[name] = given[name].float().flatten(0, -2) * scales[name]
            values[name] = values[name].view(t[name].shape)
    return given, scales, values


def requantised(norm: torch.Tensor, mode: int) -> torch.Tensor:
    if mode == 0:
        return norm.bfloat16().float()
    if mode == 3:
        blocks = norm.bfloat16().float().unflatten(-1, (-1, 32))
        exponent = blocks.abs().amax(-1, keepdim=True).log2().floor() - 8
        return ((blocks / 2**exponent).to(torch.float8_e4m3fn).float() * 2**exponent).flatten(-2)
    codes, scale = reference.quantise_rows(norm, NARROW[mode])
    return codes.float() * scale


def want_of(values: Tensors, mode: int) -> Tensors:
    flat = {k: values[k].flatten(0, -2) for k in ("x", "cos", "sin")}
    return reference.prolog(
        flat["x"],
        {k: values[k] for k in (*WEIGHTS, "absorb", "gamma_q", "gamma_k")},
        flat["cos"],
        flat["sin"],
        lambda norm: requantised(norm, mode),
        (mode in (0, 1), mode == 0),
    )


def call(op: Any, given: Tensors, scales: Tensors, caches: Any, **kwargs: Any) -> Any:
    names = ("x", "down", "up", "absorb", "keys", "gamma_q", "gamma_k", "sin", "cos")
    arguments = {
        "x": "dequant_scale_x",
        "down": "dequant_scale_w_dq",
        "up": "dequant_scale_w_uq_qr",
        "keys": "dequant_scale_w_dkv_kr",
    }
    named = {arguments[k]: v for k, v in scales.items()}
    return op(*on_npu([given[k] for k in names]), *caches, **on_npu(named | kwargs))


def new_caches(kv: torch.dtype = torch.bfloat16, kr: torch.dtype = torch.bfloat16) -> list[Any]:
    shapes = (LATENT, kv), (ROPE, kr)
    return [torch.zeros(BLOCKS, PAGE, 1, w, dtype=torch.uint8).to(d).npu() for w, d in shapes]


def assert_near(got: torch.Tensor, want: torch.Tensor, tolerance: float = 2e-2) -> None:
    want = want.view(got.shape)
    scale = float(want.abs().max())
    torch.testing.assert_close(
        got.cpu().float(), want.float(), rtol=tolerance, atol=tolerance * scale
    )


def cached(cache: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return cache.cpu().view(torch.uint8).flatten(0, 2)[index].view(cache.dtype)


@pytest.mark.parametrize("mode", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3)])
def test_queries_and_keys_are_the_formulas(shape: tuple[int, ...], mode: int) -> None:
    torch.manual_seed(mode)
    given, scales, values = quantise(bf16_operands(shape), mode)
    tokens = torch.Size(shape).numel()
    index = torch.randperm(BLOCKS * PAGE)[:tokens]
    caches = new_caches()
    query, query_rope, query_scale, norm, norm_scale = call(
        torch_npu_sim.npu_mla_prolog_v3,
        given,
        scales,
        caches,
        cache_index=index.view(shape),
        weight_quant_mode=mode,
        query_norm_flag=True,
    )
    want = want_of(values, mode)
    assert query.shape == (*shape, HEADS, LATENT)
    assert query_rope.shape == (*shape, HEADS, ROPE)
    assert query.dtype == query_rope.dtype == torch.bfloat16
    assert_near(query, want["query"])
    assert_near(query_rope, want["query_rope"])
    assert query_scale.shape == (0,)
    assert norm.shape == (*shape, DOWN)
    wide = norm.cpu().float().flatten(0, -2)
    if mode:
        factors = norm_scale.cpu().float().repeat_interleave(32 if mode == 3 else DOWN, -1)
        wide = wide * factors
    assert_near(wide, want["norm"])
    assert_near(cached(caches[0], index), want["latent"])
    assert_near(cached(caches[1], index), want["rope"])


def hifloat8(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns codes of HiFloat8 with exponent 0 (sign, 0001, three bits), and their values."""
    fraction, negative = torch.randint(8, shape), torch.randint(2, shape)
    values = (1 + fraction / 8) * (1 - 2 * negative)
    return (8 + fraction + 128 * negative).to(torch.uint8), values


def test_hifloat8_operands_are_bytes() -> None:
    given = bf16_operands((4,))
    values = {k: v.float() for k, v in given.items()}
    scales = {"x": torch.rand(4, 1)}
    for name in ("x", *WEIGHTS):
        given[name], codes = hifloat8(*given[name].shape)
        if name != "x":
            scales[name] = torch.rand(1, codes.shape[1]) + 0.1
        values[name] = codes * scales[name]
    caches, index = new_caches(), torch.arange(4)
    query, _, _, norm, _ = call(
        torch_npu_sim.npu_mla_prolog_v3,
        given,
        scales,
        caches,
        cache_index=index,
        weight_quant_mode=5,
        query_norm_flag=True,
        **{f"{k}_dtype": 290 for k in ("token_x", "weight_dq", "weight_uq_qr", "weight_dkv_kr")},
    )
    flat = {k: values[k] for k in (*WEIGHTS, "absorb", "gamma_q", "gamma_k")}
    want = reference.prolog(
        values["x"], flat, values["cos"], values["sin"], lambda norm: norm, (False, False)
    )
    assert norm.dtype == torch.uint8
    # Near its largest value HiFloat8 keeps one bit of fraction.
    assert_near(query, want["query"], 0.25)
    assert_near(cached(caches[0], index), want["latent"])


@pytest.mark.parametrize("cache_mode", ["PA_BSND", "PA_NZ", "PA_BLK_BSND", "PA_BLK_NZ"])
@pytest.mark.parametrize("flat", [True, False])
def test_keys_go_where_the_cache_mode_says(cache_mode: str, flat: bool) -> None:
    given = bf16_operands((20,) if flat else (2, 10))
    kwargs: dict[str, Any] = {}
    if "BLK" in cache_mode:
        pages = torch.randperm(BLOCKS)[: 3 if flat else 2]
        lengths = [17, 3] if flat else [10, 10]
        first = [pages[:2], pages[2:]] if flat else [pages[:1], pages[1:]]
        slots = [
            int(first[s][i // PAGE]) * PAGE + i % PAGE
            for s, n in enumerate(lengths)
            for i in range(n)
        ]
        kwargs["cache_index"] = pages if flat else pages.view(2, 1)
        if flat:
            kwargs["actual_seq_len"] = torch.tensor([17, 20]).int()
    else:
        index = torch.randperm(BLOCKS * PAGE)[:20]
        slots = index.tolist()
        kwargs["cache_index"] = index if flat else index.view(2, 10)
    caches = new_caches()
    call(torch_npu_sim.npu_mla_prolog_v3, given, {}, caches, cache_mode=cache_mode, **kwargs)
    want = want_of({k: v.float() for k, v in given.items()}, 0)
    for cache, name in zip(caches, ("latent", "rope"), strict=True):
        rows, zeros = want[name].bfloat16(), torch.zeros(cache.shape).bfloat16()
        if "NZ" in cache_mode:
            expected = cache_reference.put_fractal(zeros, rows, slots, PAGE, 16)
        else:
            expected = cache_reference.put(zeros, rows, slots)
        assert_near(cache, expected)


@pytest.mark.parametrize("cache_mode", ["BSND", "TND"])
def test_dense_caches_take_tokens_in_order(cache_mode: str) -> None:
    shape = (6,) if cache_mode == "TND" else (2, 3)
    given = bf16_operands(shape)
    caches = [torch.zeros(*shape, 1, w).bfloat16().npu() for w in (LATENT, ROPE)]
    call(torch_npu_sim.npu_mla_prolog_v3, given, {}, caches, cache_mode=cache_mode)
    want = want_of({k: v.float() for k, v in given.items()}, 0)
    assert_near(caches[0], want["latent"])
    assert_near(caches[1], want["rope"])


@pytest.mark.parametrize("mode", [2, 3, 4])
def test_a_quantised_query_has_a_scale_a_token_and_head(mode: int) -> None:
    given, scales, values = quantise(bf16_operands((4,)), mode)
    index, caches = torch.arange(4), new_caches(NARROW[mode])
    factor = torch.tensor([20.0])
    query, query_rope, query_scale, *_ = call(
        torch_npu_sim.npu_mla_prolog_v3,
        given,
        scales,
        caches,
        cache_index=index,
        weight_quant_mode=mode,
        kv_cache_quant_mode=1,
        query_quant_mode=1,
        quant_scale_ckv=factor,
    )
    want = want_of(values, mode)
    assert query.dtype == NARROW[mode]
    assert query_scale.shape == (4, HEADS, 1)
    assert_near(query.cpu().float() * query_scale.cpu(), want["query"], 7e-2)
    assert_near(query_rope.cpu().float() * query_scale.cpu() / factor, want["query_rope"])
    stored = cached(caches[0], index).float()
    assert_near(
        stored,
        (want["latent"] * factor).clamp(-448 if mode > 2 else -128, 448 if mode > 2 else 127),
        7e-2,
    )


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_tiles_of_a_key_lie_together_with_rope_and_scales(mode: int) -> None:
    given, scales, values = quantise(bf16_operands((4,)), mode)
    row = LATENT + 2 * ROPE + LATENT // 128 * 4
    kv = torch.zeros(BLOCKS, PAGE, 1, row, dtype=torch.uint8).view(NARROW[mode]).npu()
    index = torch.tensor([3, 40, 7, 0])
    call(
        torch_npu_sim.npu_mla_prolog_v3,
        given,
        scales,
        [kv, torch.zeros(0).bfloat16().npu()],
        cache_index=index,
        weight_quant_mode=mode,
        kv_cache_quant_mode=3,
        ckvkr_repo_mode=1,
        quant_scale_repo_mode=1,
        k_nope_clip_alpha=torch.ones(1),
    )
    rows = kv.cpu().view(torch.uint8).view(-1, row)[index]
    want = want_of(values, mode)
    codes = rows[:, :LATENT].contiguous().view(NARROW[mode])
    rope = rows[:, LATENT : LATENT + 2 * ROPE].contiguous().view(torch.bfloat16)
    factors = rows[:, LATENT + 2 * ROPE :].contiguous().view(torch.float32)
    assert_near(reference.expand(codes, factors, 128), want["latent"], 7e-2)
    assert_near(rope, want["rope"])


def test_a_cache_by_channel_is_int8() -> None:
    given, scales, values = quantise(bf16_operands((4,)), 1)
    caches, index = new_caches(torch.int8, torch.int8), torch.arange(4)
    factors = {
        "quant_scale_ckv": torch.rand(1, LATENT) * 20,
        "quant_scale_ckr": torch.rand(1, ROPE),
    }
    call(
        torch_npu_sim.npu_mla_prolog_v3,
        given,
        scales,
        caches,
        cache_index=index,
        weight_quant_mode=1,
        kv_cache_quant_mode=2,
        **factors,
    )
    want = want_of(values, 1)
    for cache, name, factor in zip(caches, ("latent", "rope"), factors.values(), strict=True):
        coded = (want[name] * factor).round().clamp(-128, 127)
        assert (cached(cache, index).float() - coded).abs().max() <= 2


def test_the_functional_form_leaves_its_caches() -> None:
    given, caches = bf16_operands((4,)), new_caches()
    out = call(
        torch_npu_sim.npu_mla_prolog_v3_functional, given, {}, caches, cache_index=torch.arange(4)
    )
    assert len(out) == 7
    assert not caches[0].any()
    assert out[5][0, :4].any()


@pytest.mark.parametrize(("mode", "norm"), [(0, False), (0, True), (2, True), (3, True)])
def test_meta_agrees(mode: int, norm: bool) -> None:
    given, scales, _ = quantise(bf16_operands((2, 2)), mode)
    keys = {
        "x": "dequant_scale_x",
        "down": "dequant_scale_w_dq",
        "up": "dequant_scale_w_uq_qr",
        "keys": "dequant_scale_w_dkv_kr",
    }
    names = ("x", "down", "up", "absorb", "keys", "gamma_q", "gamma_k", "sin", "cos")
    assert_meta_agrees(
        torch.ops.npu.npu_mla_prolog_v3_functional,
        *[given[k] for k in names],
        *[c.cpu() for c in new_caches()],
        cache_index=torch.arange(4).view(2, 2),
        weight_quant_mode=mode,
        query_norm_flag=norm,
        **{keys[k]: v for k, v in scales.items()},
    )


def test_no_tokens_give_empty_queries() -> None:
    query, *_ = call(
        torch_npu_sim.npu_mla_prolog_v3,
        bf16_operands((0,)),
        {},
        new_caches(),
        cache_index=torch.arange(0),
    )
    assert query.shape == (0, HEADS, LATENT)


@pytest.mark.parametrize("name", ["npu_mla_prolog", "npu_mla_prolog_v2"])
def test_the_older_prologs_are_not_on_this_card(name: str) -> None:
    given = bf16_operands((4,))
    names = ("x", "down", "up", "absorb", "keys", "gamma_q", "gamma_k", "sin", "cos")
    with pytest.raises(RuntimeError, match="ERR01007"):
        getattr(torch_npu_sim, name)(
            *on_npu([given[k] for k in names]), torch.arange(4).npu(), *new_caches()
        )


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"cache_mode": "NZ"}, ValueError, "expected cache_mode PA_BSND"),
        ({"weight_quant_mode": 9}, ValueError, r"expected weight_quant_mode in \[0, 5\]"),
        ({"kv_cache_quant_mode": 1}, ValueError, "expected kv_cache_quant_mode 0, 2 or 3"),
        ({"query_quant_mode": 1}, ValueError, "expected query_quant_mode 0"),
        ({"weight_quant_mode": 2}, TypeError, "expected token_x of Char, got BFloat16"),
        ({"cache_index": None}, ValueError, "expected cache_index in cache_mode PA_BSND"),
        ({"cache_index": torch.tensor([0, 1, 2, 64])}, IndexError, "cache_index below 64"),
        ({"cache_index": torch.arange(3)}, ValueError, "expected cache_index of 4 slots"),
    ],
)
def test_a_wrong_argument_is_named(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    kwargs = {"cache_index": torch.arange(4)} | change
    with pytest.raises(error, match=f"npu_mla_prolog_v3: .*{text}"):
        call(torch_npu_sim.npu_mla_prolog_v3, bf16_operands((4,)), {}, new_caches(), **kwargs)


def test_a_weight_of_another_width_is_named() -> None:
    given = bf16_operands((4,))
    given["keys"] = given["keys"][:, :-2].contiguous()
    with pytest.raises(ValueError, match=r"weight_dkv_kr of \[128, 320\], got \[128, 318\]"):
        call(torch_npu_sim.npu_mla_prolog_v3, given, {}, new_caches(), cache_index=torch.arange(4))
