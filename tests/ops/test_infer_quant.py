"""Quantised operands and results of npu_fused_infer_attention_score and _v2."""

from typing import Any

import pytest
import torch

from torch_npu_sim.testing.infer_calls import (
    BOTH,
    HEADS,
    KV_HEADS,
    SCALE,
    WIDTH,
    assert_close,
    attended,
    call,
    operands,
)
from torch_npu_sim.testing.reference import infer_attention as reference

# --- quantised keys and values


def codes_of(kind: str, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Returns codes, their values and the dtype argument."""
    if kind == "int8":
        codes = torch.randint(-8, 8, shape).to(torch.int8)
        return codes, codes.double(), None
    if kind == "int4":
        values = torch.randint(-8, 8, shape)
        nibbles = (values & 15).unflatten(-1, (-1, 8))
        packed = (nibbles << (4 * torch.arange(8))).sum(-1)
        return packed.to(torch.int64).to(torch.int32), values.double(), None
    if kind == "fp8":
        codes = torch.randn(shape).to(torch.float8_e4m3fn)
        return codes, codes.double(), None
    # Codes 0x08 to 0x0f of HiFloat8 are 1 to 1.875, as the last three bits are a mantissa.
    codes = torch.randint(8, 16, shape).to(torch.uint8)
    return codes, 1 + (codes.double() - 8) / 8, 290


SHAPES: dict[int, tuple[int, ...]] = {
    0: (1, KV_HEADS, 1, WIDTH),
    1: (1, 2, 9),
    2: (KV_HEADS,),
    3: (2, KV_HEADS, 9),
}


def broadcast(scale: torch.Tensor, mode: int) -> torch.Tensor:
    """Returns a scale as it applies to [batch, heads, tokens, width]."""
    if mode == 0:
        return scale.reshape(1, -1, 1, WIDTH) if scale.numel() > 1 else scale
    if mode == 1:
        return scale.reshape(2, 1, 9, 1)
    return scale[:, None, None] if mode == 2 else scale[..., None]


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [("int8", 0), ("int8", 1), ("int8", 2), ("int8", 3), ("int4", 0), ("int4", 1), ("int4", 3)]
    + [("fp8", 0), ("hif8", 0)],
)
def test_quantised_keys_and_values(op: Any, kind: str, mode: int, offset: bool) -> None:
    if kind == "hif8" and op is BOTH[0]:
        pytest.skip("the first form has no argument that says what bytes mean")
    query, _, _ = operands(2, 1, 1)
    shape = (2, KV_HEADS, 9, WIDTH)
    (key, keys, dtype), (value, values, _) = codes_of(kind, shape), codes_of(kind, shape)
    scale_dtype = torch.float32 if mode in (1, 3) else torch.float16
    scales = [torch.rand(SHAPES[mode]).to(scale_dtype) / 4 for _ in range(2)]
    offsets = [torch.randn(SHAPES[mode]).to(scale_dtype) for _ in range(2)]
    kwargs: dict[str, Any] = {"key_dtype": dtype, "value_dtype": dtype} if dtype else {}
    if offset:
        kwargs |= {"key_antiquant_offset": offsets[0], "value_antiquant_offset": offsets[1]}
    out, _ = call(
        op,
        query,
        key,
        value,
        input_layout="BNSD",
        key_antiquant_scale=scales[0],
        value_antiquant_scale=scales[1],
        key_antiquant_mode=mode,
        value_antiquant_mode=mode,
        **kwargs,
    )
    wide = []
    for x, scale, shift in zip((keys, values), scales, offsets, strict=True):
        moved = x + broadcast(shift, mode).double() if offset else x
        wide.append((moved * broadcast(scale, mode).double()).half())
    assert out.dtype == torch.float16
    assert_close(out, attended((query, *wide), [(1, 9)] * 2)[0])


@pytest.mark.parametrize("shape", [(1,), (KV_HEADS, 1, WIDTH), (1, KV_HEADS * WIDTH)])
def test_scales_of_a_channel_in_every_shape(shape: tuple[int, ...]) -> None:
    query, _, _ = operands(2, 1, 1)
    key, keys, _ = codes_of("int8", (2, KV_HEADS, 9, WIDTH))
    scale = torch.rand(shape).half() / 4
    out, _ = call(
        BOTH[0],
        query,
        key,
        key,
        input_layout="BNSD",
        key_antiquant_scale=scale,
        value_antiquant_scale=scale,
    )
    wide = (keys * broadcast(scale, 0).double()).half()
    assert_close(out, attended((query, wide, wide), [(1, 9)] * 2)[0])


def test_a_scale_a_channel_of_keys_and_a_token_of_values() -> None:
    query, _, _ = operands(2, 1, 1)
    (key, keys, _), (value, values, _) = [codes_of("int8", (2, KV_HEADS, 9, WIDTH))] * 2
    channel, token = torch.rand(SHAPES[0]).half() / 4, torch.rand(SHAPES[1]) / 4
    out, _ = call(
        BOTH[1],
        query,
        key,
        value,
        input_layout="BNSD",
        key_antiquant_scale=channel,
        value_antiquant_scale=token,
        value_antiquant_mode=1,
    )
    wide = (
        (keys * broadcast(channel, 0).double()).half(),
        (values * broadcast(token, 1).double()).half(),
    )
    assert_close(out, attended((query, *wide), [(1, 9)] * 2)[0])


@pytest.mark.parametrize("mode", [0, 1])
def test_joint_scales(mode: int) -> None:
    query, _, _ = operands(2, 2, 1)
    (key, keys, _), (value, values, _) = (
        codes_of("int8", (2, KV_HEADS, 9, WIDTH)),
        codes_of("int8", (2, KV_HEADS, 9, WIDTH)),
    )
    shape = (2, KV_HEADS, 1, WIDTH) if mode == 0 else (2, 2, 9)
    scale = (torch.rand(shape) / 4).to(torch.float16 if mode == 0 else torch.float32)
    offset = torch.randn(shape).to(scale.dtype)
    out, _ = call(
        BOTH[0],
        query,
        key,
        value,
        input_layout="BNSD",
        antiquant_scale=scale,
        antiquant_offset=offset,
        antiquant_mode=mode,
    )
    wide = [
        ((x + broadcast(offset[i], mode).double()) * broadcast(scale[i], mode).double()).half()
        for i, x in enumerate((keys, values))
    ]
    assert_close(out, attended((query, *wide), [(2, 9)] * 2)[0])


@pytest.mark.parametrize("mode", [4, 5])
def test_scales_in_pages(mode: int) -> None:
    query, _, _ = operands(2, 1, 1)
    codes = [codes_of("int8", (KV_HEADS, k, WIDTH))[0] for k in (40, 5)]
    table = torch.randperm(6).view(2, 3).int()
    cache = reference.paged(codes, table, 16, 6, "BNBD")
    scale = torch.rand((6, 16) if mode == 4 else (6, KV_HEADS, 16)) / 4
    out, _ = call(
        BOTH[0],
        query,
        cache,
        cache,
        input_layout="BNSD",
        key_antiquant_scale=scale,
        value_antiquant_scale=scale,
        key_antiquant_mode=mode,
        value_antiquant_mode=mode,
        block_table=table,
        actual_seq_lengths_kv=[40, 5],
    )
    by_head = scale if mode == 5 else scale[:, None]
    wide = (cache.double() * by_head[..., None].double()).half()
    for b, k in enumerate((40, 5)):
        rows = wide[table[b].long()].transpose(0, 1).flatten(1, 2)[:, :k]
        assert_close(out[b], reference.attend(query[b], rows, rows, SCALE)[0])


def test_fp4_with_a_scale_for_32_channels() -> None:
    width = 64
    query = torch.randn(2, HEADS, 1, width).half()
    codes = torch.randint(0, 256, (2, KV_HEADS, 9, width // 2)).to(torch.uint8)
    exponents = torch.randint(125, 128, (1, 2, KV_HEADS, 9, width // 32)).to(torch.uint8)
    out, _ = call(
        BOTH[1],
        query,
        codes,
        codes,
        input_layout="BNSD",
        key_antiquant_scale=exponents,
        value_antiquant_scale=exponents,
        key_antiquant_mode=6,
        value_antiquant_mode=6,
        key_dtype=296,
        value_dtype=296,
        dequant_scale_key_dtype=293,
        dequant_scale_value_dtype=293,
    )
    table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    nibbles = torch.stack((codes & 15, codes >> 4), -1).flatten(-2).long()
    values = torch.where(nibbles > 7, -1.0, 1.0) * table[nibbles & 7]
    scale = (exponents[0].double() - 127).exp2().repeat_interleave(32, -1)
    wide = values.double() * scale
    assert out.shape == (2, HEADS, 1, width)
    for b in range(2):
        assert_close(out[b], reference.attend(query[b], wide[b], wide[b], SCALE)[0])


# --- quantised queries


@pytest.mark.parametrize("layout", ["BSND", "BNSD", "BSH", "TND"])
def test_quantised_latent_attention(layout: str) -> None:
    width, rope, keys = 64, 16, 21
    fp8 = torch.float8_e4m3fn
    query, key = torch.randn(1, 8, 3, width).to(fp8), torch.randn(1, 1, keys, width).to(fp8)
    ropes = torch.randn(1, 8, 3, rope).bfloat16(), torch.randn(1, 1, keys, rope).bfloat16()
    query_scale, key_scale = torch.rand(1, 8, 3), torch.tensor([0.5])
    tensors = [reference.laid_out(x, layout) for x in (query, key, key)]
    scale = reference.laid_out(query_scale[..., None], "BSND" if layout == "BSH" else layout)
    flat = {"actual_seq_lengths": [3], "actual_seq_lengths_kv": [keys]} if layout == "TND" else {}
    out, _ = call(
        BOTH[1],
        *tensors,
        num_heads=8,
        num_key_value_heads=1,
        input_layout=layout,
        query_rope=reference.laid_out(ropes[0], layout),
        key_rope=reference.laid_out(ropes[1], layout),
        dequant_scale_query=scale[..., 0],
        key_antiquant_scale=key_scale,
        value_antiquant_scale=key_scale,
        query_quant_mode=3,
        **flat,
    )
    assert out.dtype == torch.bfloat16
    wide = query.double() * query_scale[..., None].double(), key.double() * 0.5
    want, _ = reference.attend(
        torch.cat((wide[0], ropes[0].double()), -1)[0],
        torch.cat((wide[1], ropes[1].double()), -1)[0],
        wide[1][0],
        SCALE,
    )
    assert_close(out, reference.laid_out(want[None], layout), 0.02)


def test_blocks_of_tokens_with_a_scale_each() -> None:
    queries, keys = 130, 300
    fp8 = torch.float8_e4m3fn
    query, key, value = (x.to(fp8) for x in operands(1, queries, keys))
    scales = (
        torch.rand(1, HEADS, 2, 1),
        torch.rand(1, KV_HEADS, 2, 1),
        torch.rand(1, KV_HEADS, 2, 1),
    )
    out, _ = call(
        BOTH[1],
        query,
        key,
        value,
        input_layout="BNSD",
        dequant_scale_query=scales[0],
        key_antiquant_scale=scales[1],
        value_antiquant_scale=scales[2],
        query_quant_mode=7,
        key_antiquant_mode=7,
        value_antiquant_mode=7,
        out_dtype=15,
    )
    assert out.dtype == torch.bfloat16
    wide = [
        x.double() * s.repeat_interleave(n, 2)[:, :, : x.shape[2]].double()
        for x, s, n in zip((query, key, value), scales, (128, 256, 256), strict=True)
    ]
    assert_close(out[0], reference.attend(*[x[0] for x in wide], SCALE)[0], 0.02)


def test_int8_operands_with_a_scale_a_product() -> None:
    shapes = [(1, HEADS, 3, WIDTH), (1, KV_HEADS, 7, WIDTH), (1, KV_HEADS, 7, WIDTH)]
    parts = [torch.randint(-20, 20, s).to(torch.int8) for s in shapes]
    bits = torch.tensor([0.01]).view(torch.int32).long()  # fp32 in the low half of 64 bits
    kwargs = {
        "quant_scale1": torch.tensor([100.0]),
        "dequant_scale2": torch.tensor([0.002]),
        "input_layout": "BNSD",
    }
    out, _ = call(BOTH[0], *parts, dequant_scale1=bits, **kwargs)
    assert out.dtype == torch.float16
    want, _ = reference.attend(
        parts[0][0].double() * 0.01, parts[1][0], parts[2][0].double() * 0.2, SCALE
    )
    assert_close(out[0], want)
    again, _ = call(BOTH[0], *parts, dequant_scale1=torch.tensor([0.01]), **kwargs)
    assert torch.equal(again.cpu(), out.cpu())


# --- quantised results


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize("shape", [(1,), (1, HEADS, 1, WIDTH), (HEADS, WIDTH)])
@pytest.mark.parametrize("offset", [False, True])
def test_int8_results(op: Any, shape: tuple[int, ...], offset: bool) -> None:
    parts = operands(2, 3, 7)
    scale, shift = torch.rand(shape) * 100, torch.randn(shape) * 10
    out, _ = call(
        op,
        *parts,
        input_layout="BNSD",
        quant_scale2=scale,
        quant_offset2=shift if offset else None,
    )
    wide, _ = attended(parts, [(3, 7)] * 2)
    axes = (1, HEADS, 1, WIDTH) if scale.numel() > 1 else (1,)
    want = wide * scale.reshape(axes) + (shift.reshape(axes) if offset else 0)
    assert out.dtype == torch.int8
    assert (out.cpu().double() - want.clamp(-128, 127)).abs().max() < 0.6


@pytest.mark.parametrize(
    ("number", "dtype"), [(24, torch.float8_e4m3fn), (23, torch.float8_e5m2), (290, torch.uint8)]
)
def test_fp8_results(number: int, dtype: torch.dtype) -> None:
    parts = operands(1, 3, 7)
    out, _ = call(
        BOTH[1], *parts, input_layout="BNSD", quant_scale2=torch.tensor([2.0]), out_dtype=number
    )
    assert out.dtype == dtype
    if dtype != torch.uint8:
        assert_close(out, attended(parts, [(3, 7)])[0] * 2, 0.15)
