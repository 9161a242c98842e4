"""npu_fused_infer_attention_score in both forms against whole score matrices in fp64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.report.kernel import Kernel
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import infer_attention as reference

HEADS, KV_HEADS, WIDTH, SCALE = 4, 2, 16, 0.25
BOTH = [
    torch_npu_sim.npu_fused_infer_attention_score,
    torch_npu_sim.npu_fused_infer_attention_score_v2,
]
# The second form's names of the first one's arguments.
RENAMED = {
    "num_heads": "num_query_heads",
    "scale": "softmax_scale",
    "actual_seq_lengths": "actual_seq_qlen",
    "actual_seq_lengths_kv": "actual_seq_kvlen",
    "key_antiquant_scale": "dequant_scale_key",
    "key_antiquant_offset": "dequant_offset_key",
    "key_antiquant_mode": "key_quant_mode",
    "value_antiquant_scale": "dequant_scale_value",
    "value_antiquant_offset": "dequant_offset_value",
    "value_antiquant_mode": "value_quant_mode",
    "quant_scale2": "quant_scale_out",
    "quant_offset2": "quant_offset_out",
    "softmax_lse_flag": "return_softmax_lse",
}
LAYOUTS = [
    *("BSH", "BSND", "BNSD", "BNSD_BSND", "BSH_BNSD", "BSND_BNSD"),
    *("BSH_NBSD", "BSND_NBSD", "BNSD_NBSD"),
]
FLAT_LAYOUTS = ["TND", "NTD", "TND_NTD", "NTD_TND"]
TRIANGLE = torch.ones(2048, 2048).bool().triu(1)


def call(op: Any, *tensors: torch.Tensor, **kwargs: Any) -> Any:
    kwargs = {"num_heads": HEADS, "num_key_value_heads": KV_HEADS, "scale": SCALE} | kwargs
    if op is not BOTH[0]:
        kwargs = {RENAMED.get(k, k): v for k, v in kwargs.items()}
    return op(*on_npu(tensors), **on_npu(kwargs))


def operands(
    batch: int, queries: int, keys: int, dtype: torch.dtype = torch.float16, value: int = WIDTH
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns query, key and value, [batch, heads, tokens, width]."""
    return (
        torch.randn(batch, HEADS, queries, WIDTH).to(dtype),
        torch.randn(batch, KV_HEADS, keys, WIDTH).to(dtype),
        torch.randn(batch, KV_HEADS, keys, value).to(dtype),
    )


def assert_close(got: torch.Tensor, want: torch.Tensor, tolerance: float = 0.01) -> None:
    assert got.shape == want.shape
    torch.testing.assert_close(got.cpu().double(), want.double(), rtol=tolerance, atol=tolerance)


def attended(
    parts: tuple[torch.Tensor, ...], lengths: list[tuple[int, int]], **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attends sequence by sequence; rows behind a sequence's queries are 0, and infinity in lse."""
    query, key, value = parts
    out = torch.zeros(*query.shape[:3], value.shape[-1], dtype=torch.float64)
    lse = torch.full(query.shape[:3], torch.inf, dtype=torch.float64)
    for b, (q, k) in enumerate(lengths):
        seen = kwargs["seen"](q, k) if "seen" in kwargs else None
        out[b, :, :q], lse[b, :, :q] = reference.attend(
            query[b, :, :q], key[b, :, :k], value[b, :, :k], SCALE, seen=seen
        )
    return out, lse


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_with_lengths(op: Any, layout: str) -> None:
    parts = operands(3, 5, 9, value=8)
    lengths = [(5, 9), (2, 4), (0, 0)]
    first, _, last = layout.partition("_")
    out, lse = call(
        op,
        *[reference.laid_out(x, first) for x in parts],
        input_layout=layout,
        actual_seq_lengths=[q for q, _ in lengths],
        actual_seq_lengths_kv=[k for _, k in lengths],
        softmax_lse_flag=True,
    )
    want, want_lse = attended(parts, lengths)
    assert_close(out, reference.laid_out(want, last or first))
    assert_close(lse, want_lse[..., None])


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize("layout", FLAT_LAYOUTS)
def test_layouts_of_all_tokens_in_a_row(op: Any, layout: str) -> None:
    lengths = [(3, 7), (0, 2), (4, 5)]
    sequences = [operands(1, q, k) for q, k in lengths]
    parts = [torch.cat([s[i] for s in sequences], 2) for i in range(3)]
    first, _, last = layout.partition("_")
    sums = torch.tensor(lengths).cumsum(0)
    out, lse = call(
        op,
        *[reference.laid_out(x, first) for x in parts],
        input_layout=layout,
        actual_seq_lengths=sums[:, 0].tolist(),
        actual_seq_lengths_kv=sums[:, 1].tolist(),
        softmax_lse_flag=True,
    )
    results = [attended(s, [n]) for s, n in zip(sequences, lengths, strict=True)]
    want, want_lse = (torch.cat([r[i] for r in results], 2) for i in range(2))
    assert_close(out, reference.laid_out(want, last or first))
    assert_close(lse, want_lse[0].T[..., None])


def test_a_layout_without_batch() -> None:
    parts = operands(1, 3, 6)
    out, _ = call(BOTH[0], *[reference.laid_out(x, "NSD") for x in parts], input_layout="NSD")
    assert_close(out, attended(parts, [(3, 6)])[0][0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 700), (40, 600), (600, 3)])
def test_long_sequences_and_dtypes(queries: int, keys: int, dtype: torch.dtype) -> None:
    parts = operands(1, queries, keys, dtype)
    out, lse = call(BOTH[1], *parts, input_layout="BNSD")
    assert out.dtype == dtype
    assert lse.shape == (0,)
    assert_close(out, attended(parts, [(queries, keys)])[0], 0.02)


@pytest.mark.parametrize("mode", [2, 3, 4])
@pytest.mark.parametrize("lengths", [(6, 6), (4, 9), (9, 4)])
def test_masks_by_place(mode: int, lengths: tuple[int, int]) -> None:
    queries, keys = lengths
    parts = operands(1, queries, keys)
    out, lse = call(
        BOTH[0],
        *parts,
        input_layout="BNSD",
        atten_mask=TRIANGLE,
        sparse_mode=mode,
        pre_tokens=2,
        next_tokens=1,
        softmax_lse_flag=True,
    )
    want, want_lse = attended(
        parts, [lengths], seen=lambda q, k: reference.visible(mode, q, k, 2, 1)
    )
    assert_close(out, want)
    assert_close(lse, want_lse[..., None])


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.uint8])
@pytest.mark.parametrize("shape", [(5, 9), (1, 5, 9), (2, 5, 9), (2, 1, 5, 9), (1, 1, 16, 32)])
def test_full_masks(mode: int, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    parts = operands(2, 5, 9)
    hidden = torch.rand(shape) < 0.4
    hidden[..., 2, :] = True  # a query that sees nothing
    out, _ = call(
        BOTH[0],
        *parts,
        input_layout="BNSD",
        atten_mask=hidden.to(dtype),
        sparse_mode=mode,
        pre_tokens=3,
        next_tokens=4,
    )
    rows = hidden.reshape(-1, *shape[-2:])[:, :5, :9].expand(2, 5, 9)
    band = reference.visible(mode, 5, 9, 3, 4)
    for b in range(2):
        want, _ = reference.attend(
            parts[0][b], parts[1][b], parts[2][b], SCALE, seen=band & ~rows[b]
        )
        assert_close(out[b], want)


@pytest.mark.parametrize("shape", [(2, 9), (2, 1, 9), (2, 1, 1, 9), (1, 16)])
def test_masks_of_one_query(shape: tuple[int, ...]) -> None:
    parts = operands(2, 1, 9)
    hidden = torch.rand(shape) < 0.4
    out, _ = call(
        BOTH[0], *parts, input_layout="BNSD", atten_mask=hidden, pre_tokens=0, next_tokens=0
    )
    rows = hidden.reshape(-1, shape[-1])[:, :9].expand(2, 9)
    for b in range(2):
        want, _ = reference.attend(
            parts[0][b], parts[1][b], parts[2][b], SCALE, seen=~rows[b][None]
        )
        assert_close(out[b], want)


def test_one_query_ignores_sparse_mode() -> None:
    parts = operands(2, 1, 9)
    out, _ = call(BOTH[0], *parts, input_layout="BNSD", atten_mask=TRIANGLE, sparse_mode=2)
    assert_close(out, attended(parts, [(1, 9)] * 2)[0])


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize("form", ["BBH", "BNBD", "NZ"])
@pytest.mark.parametrize("layout", ["BNSD", "BSH", "TND"])
def test_pages(op: Any, layout: str, form: str) -> None:
    lengths = [(2, 40), (2, 16), (2, 3)]
    query, _, _ = operands(3, 2, 1)
    keys = [operands(1, 1, k)[1][0] for _, k in lengths]
    values = [operands(1, 1, k)[2][0] for _, k in lengths]
    table = torch.randperm(12).view(3, 4).int()
    table[1, 1:] = 99  # blocks beyond a sequence's length are not looked at
    caches = [reference.paged(x, table, 16, 12, form) for x in (keys, values)]
    flat = layout == "TND"
    laid = query.transpose(1, 2).flatten(0, 1) if flat else reference.laid_out(query, layout)
    out, _ = call(
        op,
        laid,
        *caches,
        input_layout=layout,
        block_table=table,
        block_size=16,
        actual_seq_lengths=[2, 4, 6] if flat else [2],
        actual_seq_lengths_kv=[k for _, k in lengths],
        atten_mask=TRIANGLE,
        sparse_mode=3,
    )
    rows = []
    for b, (q, k) in enumerate(lengths):
        seen = reference.visible(3, q, k, 0, 0)
        rows.append(reference.attend(query[b], keys[b], values[b], SCALE, seen=seen)[0])
    want = torch.stack(rows)
    if flat:
        assert_close(out, want.transpose(1, 2).flatten(0, 1))
    else:
        assert_close(out, reference.laid_out(want, layout))


def test_blocks_may_lie_apart() -> None:
    query, key, _ = operands(1, 1, 20)
    table = torch.tensor([[2, 0]]).int()
    pages = reference.paged([key[0]], table, 16, 3, "BNBD")
    layers = torch.stack((torch.full_like(pages, torch.nan), pages), 1).npu()
    out, _ = torch_npu_sim.npu_fused_infer_attention_score(
        query.npu(),
        layers[:, 1],
        layers[:, 1],
        num_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        scale=SCALE,
        input_layout="BNSD",
        block_table=table.npu(),
        actual_seq_lengths_kv=[20],
    )
    assert_close(out, attended((query, key, key), [(1, 20)])[0])


@pytest.mark.parametrize("form", ["dense", "BBH", "BNBD", "NZ"])
def test_latent_attention(form: str) -> None:
    width, rope, keys = 64, 16, 37
    query, key = torch.randn(2, 8, 3, width).bfloat16(), torch.randn(2, 1, keys, width).bfloat16()
    query_rope = torch.randn(2, 8, 3, rope).bfloat16()
    key_rope = torch.randn(2, 1, keys, rope).bfloat16()
    kwargs: dict[str, Any] = {"query_rope": query_rope, "key_rope": key_rope}
    latent = key
    if form != "dense":
        table = torch.randperm(6).view(2, 3).int()
        latent = reference.paged(list(key), table, 16, 6, form)
        kwargs |= {
            "key_rope": reference.paged(list(key_rope), table, 16, 6, form),
            "block_table": table,
            "actual_seq_lengths_kv": [keys, keys],
        }
    card = on_npu(latent)
    out, _ = torch_npu_sim.npu_fused_infer_attention_score(
        query.npu(),
        card,
        card,
        num_heads=8,
        num_key_value_heads=1,
        input_layout="BNSD",
        scale=SCALE,
        atten_mask=TRIANGLE.npu(),
        sparse_mode=3,
        **on_npu(kwargs),
    )
    for b in range(2):
        want, _ = reference.attend(
            torch.cat((query[b], query_rope[b]), -1),
            torch.cat((key[b], key_rope[b]), -1),
            key[b],
            SCALE,
            seen=reference.visible(3, 3, keys, 0, 0),
        )
        assert_close(out[b], want, 0.02)


def test_sinks_take_a_share_of_the_weights() -> None:
    parts, sinks = operands(1, 3, 7, torch.bfloat16), torch.randn(HEADS).bfloat16()
    out, lse = call(
        BOTH[1], *parts, input_layout="BNSD", learnable_sink=sinks, softmax_lse_flag=True
    )
    want, want_lse = reference.attend(*[x[0] for x in parts], SCALE, sinks=sinks)
    assert_close(out[0], want, 0.02)
    assert_close(lse[0, ..., 0], want_lse, 0.02)


@pytest.mark.parametrize("shape", [(2, HEADS, 3, 7), (1, HEADS, 8, 16)])
def test_pse_shift_is_added_to_the_scores(shape: tuple[int, ...]) -> None:
    parts, bias = operands(2, 3, 7), torch.randn(shape).half()
    out, _ = call(BOTH[0], *parts, input_layout="BNSD", pse_shift=bias)
    for b in range(2):
        rows = bias[b % shape[0], :, :3, :7]
        want, _ = reference.attend(*[x[b] for x in parts], SCALE, bias=rows)
        assert_close(out[b], want)


def test_padding_on_the_left() -> None:
    parts, hidden = operands(2, 6, 9), torch.rand(6, 9) < 0.3
    out, _ = call(
        BOTH[0],
        *parts,
        input_layout="BNSD",
        actual_seq_lengths=[3, 6],
        actual_seq_lengths_kv=[4, 7],
        query_padding_size=torch.tensor([1]),
        kv_padding_size=torch.tensor([2]),
        atten_mask=hidden,
    )
    # The first sequence: queries 2 to 4 and keys 3 to 6; the second one would begin before 0.
    want = torch.zeros(2, HEADS, 6, WIDTH, dtype=torch.float64)
    want[0, :, 2:5], _ = reference.attend(
        parts[0][0, :, 2:5], *[x[0, :, 3:7] for x in parts[1:]], SCALE, seen=~hidden[2:5, 3:7]
    )
    assert_close(out, want)


@pytest.mark.parametrize("length", [None, 3])
def test_a_shared_prefix_stands_before_the_keys(length: int | None) -> None:
    parts, (_, key_prefix, value_prefix) = operands(2, 3, 7), operands(1, 1, 5)
    out, _ = call(
        BOTH[0],
        *[reference.laid_out(x, "BSND") for x in parts],
        input_layout="BSND",
        key_shared_prefix=reference.laid_out(key_prefix, "BSND"),
        value_shared_prefix=reference.laid_out(value_prefix, "BSND"),
        actual_shared_prefix_len=None if length is None else [length],
        actual_seq_lengths_kv=[7, 4],
    )
    for b, k in enumerate((7, 4)):
        key = torch.cat((key_prefix[0, :, :length], parts[1][b, :, :k]), 1)
        value = torch.cat((value_prefix[0, :, :length], parts[2][b, :, :k]), 1)
        want, _ = reference.attend(parts[0][b], key, value, SCALE)
        assert_close(out[b].cpu().transpose(0, 1), want)


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


# --- forms for graphs, meta, nothing to do


@pytest.mark.parametrize("form", ["", "_v2"])
@pytest.mark.parametrize("lse", [False, True])
def test_results_written_where_the_caller_says(form: str, lse: bool) -> None:
    parts = on_npu(operands(2, 3, 7))
    name = f"npu_fused_infer_attention_score{form}"
    names = {k: RENAMED[k] if form else k for k in ("num_heads", "scale", "softmax_lse_flag")}
    kwargs = {
        names["num_heads"]: HEADS,
        "num_key_value_heads": KV_HEADS,
        names["scale"]: SCALE,
        "input_layout": "BNSD",
        names["softmax_lse_flag"]: lse,
    }
    few = {k: v for k, v in kwargs.items() if k != names["scale"]}
    workspace = getattr(torch_npu_sim, f"_{name}_get_max_workspace")(*parts, **kwargs)
    out = getattr(torch_npu_sim, f"_{name}_infer_output")(parts[0], parts[2], **few)
    want = getattr(torch_npu_sim, name)(*parts, **kwargs)
    assert workspace.dim() == 1
    assert workspace.dtype == torch.float16
    got = getattr(torch.ops.npu, name).out(*parts, **kwargs, workspace=workspace, out=list(out))
    for i in range(2):
        assert got[i].data_ptr() == out[i].data_ptr()
        assert torch.equal(out[i].cpu(), want[i].cpu())
    with pytest.raises(ValueError, match="expected out"):
        getattr(torch.ops.npu, name).out(*parts, **kwargs, out=[out[0][:1], out[1]])


@pytest.mark.parametrize("op", BOTH)
def test_shapes_without_values(op: Any) -> None:
    parts = operands(2, 3, 7)
    kwargs = {"num_heads": HEADS, "num_key_value_heads": KV_HEADS, "softmax_lse_flag": True}
    if op is BOTH[1]:
        kwargs = {RENAMED.get(k, k): v for k, v in kwargs.items()}
    for layout in ("BNSD", "BNSD_BSND", "BNSD_NBSD"):
        assert_meta_agrees(op, *parts, input_layout=layout, **kwargs)
    laid = [reference.laid_out(x, "BSH") for x in parts]
    assert_meta_agrees(op, *laid, input_layout="BSH_BNSD", **kwargs)


def test_no_queries_and_no_keys() -> None:
    query, key, value = operands(2, 3, 0)
    out, lse = call(BOTH[0], query, key, value, input_layout="BNSD", softmax_lse_flag=True)
    assert (out == 0).all()
    assert (lse == torch.inf).all()
    out, lse = call(
        BOTH[0], query[:, :, :0], key, value, input_layout="BNSD", softmax_lse_flag=True
    )
    assert out.shape == (2, HEADS, 0, WIDTH)
    assert lse.shape == (2, HEADS, 0, 1)


# --- errors


def half(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape).half()


def paged_call(**kwargs: Any) -> dict[str, Any]:
    return {
        "key": half(4, KV_HEADS, 16, WIDTH),
        "block_table": torch.zeros(2, 2).int(),
        "actual_seq_lengths_kv": [20, 3],
    } | kwargs


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"input_layout": "SBH"}, ValueError, "expected input_layout"),
        ({"input_layout": "BSH"}, ValueError, "expected query of 3 axes"),
        ({"num_heads": 3}, ValueError, "expected num_key_value_heads"),
        ({"num_heads": 0}, ValueError, "expected num_heads above 0"),
        ({"num_heads": 8}, ValueError, "expected query of 8 heads"),
        ({"num_key_value_heads": 4}, ValueError, "expected (key|value) of 4 heads"),
        (
            {"query": half(2, HEADS, 3, 8)},
            ValueError,
            "key of query's width",
        ),
        ({"query": torch.zeros(2, HEADS, 3, WIDTH)}, TypeError, "query of float16"),
        (
            {"query": torch.zeros(2, HEADS, 3, WIDTH).bfloat16()},
            TypeError,
            "key and value of",
        ),
        (
            {"query": half(1, HEADS, 3, WIDTH)},
            ValueError,
            "key of 1 sequences",
        ),
        (
            {"value": half(2, KV_HEADS, 6, WIDTH)},
            ValueError,
            "value of key's",
        ),
        ({"value": torch.zeros(2, KV_HEADS, 7, WIDTH).bfloat16()}, TypeError, "expected value of"),
        ({"actual_seq_lengths": [4]}, ValueError, r"expected actual_seq_lengths in \[0, 3\]"),
        ({"actual_seq_lengths": [-1]}, ValueError, r"expected actual_seq_lengths in \[0, 3\]"),
        ({"actual_seq_lengths_kv": [8, 1]}, ValueError, r"actual_seq_lengths_kv in \[0, 7\]"),
        ({"actual_seq_lengths_kv": []}, ValueError, "expected actual_seq_lengths_kv of one length"),
        ({"sparse_mode": 5}, ValueError, r"expected sparse_mode in \[0, 4\]"),
        ({"sparse_mode": 3}, ValueError, "expected atten_mask of .2048"),
        ({"sparse_mode": 1}, ValueError, "expected atten_mask in sparse_mode 1"),
        ({"atten_mask": torch.zeros(3, 6).bool()}, ValueError, "expected atten_mask of"),
        ({"atten_mask": torch.zeros(3, 7)}, TypeError, "expected atten_mask of bool"),
        ({"pse_shift": half(1, HEADS, 3, 6)}, ValueError, "expected pse_shift of"),
        ({"pse_shift": torch.zeros(1, HEADS, 3, 7)}, TypeError, "expected pse_shift of"),
        ({"query_rope": half(2, HEADS, 3, 8)}, ValueError, "query_rope and key_rope"),
        ({"key_antiquant_scale": torch.ones(1)}, ValueError, "expected no key_antiquant_scale"),
        ({"quant_offset2": torch.ones(1)}, ValueError, "expected quant_scale2 with quant_offset2"),
        ({"quant_scale2": torch.ones(3)}, ValueError, "expected quant_scale2 of one element"),
        (
            {"key": torch.zeros(2, KV_HEADS, 7, WIDTH).char()},
            ValueError,
            "key_antiquant_scale of",
        ),
        ({"key_shared_prefix": half(1, KV_HEADS, 2, WIDTH)}, ValueError, "together"),
        (paged_call(actual_seq_lengths_kv=None), ValueError, "lengths_kv with"),
        (
            paged_call(actual_seq_lengths_kv=[33, 3]),
            ValueError,
            "block_table with 3 blocks",
        ),
        (paged_call(block_table=torch.full((2, 2), 4).int()), IndexError, r"blocks in \[0, 4\)"),
        (paged_call(block_table=torch.full((2, 2), -1).int()), IndexError, r"blocks in \[0, 4\)"),
        (paged_call(block_table=torch.zeros(2, 2)), TypeError, "expected block_table of int32"),
        (paged_call(block_table=torch.zeros(3, 2).int()), ValueError, "expected block_table of"),
        (paged_call(key=half(4, 16)), ValueError, "with a block_table of"),
    ],
)
def test_errors_name_the_argument(kwargs: dict[str, Any], error: type, words: str) -> None:
    parts = dict(zip(("query", "key", "value"), operands(2, 3, 7), strict=True))
    given = parts | {"input_layout": "BNSD"} | kwargs
    if "key" in kwargs and "value" not in kwargs:
        given["value"] = given["key"]
    tensors = [given.pop(n) for n in ("query", "key", "value")]
    with pytest.raises(error, match=f"^npu_fused_infer_attention_score: .*{words}"):
        call(BOTH[0], *tensors, **given)


def test_a_layout_of_all_tokens_needs_lengths() -> None:
    parts = [reference.laid_out(x, "TND") for x in operands(1, 3, 7)]
    with pytest.raises(ValueError, match="expected actual_seq_qlen in a layout with the axis T"):
        call(BOTH[1], *parts, input_layout="TND")
    with pytest.raises(ValueError, match="expected actual_seq_qlen of running sums"):
        call(
            BOTH[1],
            *parts,
            input_layout="TND",
            actual_seq_lengths=[4, 3],
            actual_seq_lengths_kv=[4, 7],
        )
    with pytest.raises(ValueError, match="expected actual_seq_kvlen of 1 sequences"):
        call(
            BOTH[1],
            *parts,
            input_layout="TND",
            actual_seq_lengths=[3],
            actual_seq_lengths_kv=[4, 7],
        )


def test_tensors_must_be_on_the_card() -> None:
    with pytest.raises(ValueError, match="expected tensors on npu"):
        torch_npu_sim.npu_fused_infer_attention_score(*operands(1, 1, 1), num_heads=HEADS)


# --- time


def kernels_of(run: Callable[[], object]) -> list[Kernel]:
    with torch_npu_sim.trace() as trace:
        run()
    return [k for k in trace.kernels if k.op.startswith("npu::")]


def zeros(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype, device="npu")


@pytest.mark.parametrize(
    ("lengths", "work"),
    [
        ([4096] * 4, "attention b4 h32/8 1x4096 d128/128 bf16"),
        ([4096, 96, 4, 0], "attention b3 h32/8 1x1398 d128/128 bf16"),
        ([0, 0, 0, 0], None),
    ],
)
def test_time_counts_the_actual_lengths(lengths: list[int], work: str | None) -> None:
    query, cache = zeros(4, 32, 1, 128), zeros(64, 8, 128, 128)
    table = torch.zeros(4, 32).int().npu()
    kernels = kernels_of(
        lambda: torch_npu_sim.npu_fused_infer_attention_score(
            query,
            cache,
            torch.zeros_like(cache),
            num_heads=32,
            num_key_value_heads=8,
            input_layout="BNSD",
            block_table=table,
            actual_seq_lengths_kv=lengths,
        )
    )
    assert [k.work for k in kernels] == ([] if work is None else [work])


def test_latent_attention_reads_its_keys_once() -> None:
    query, rope, keys, key_rope = (
        zeros(1, 128, 1, 512),
        zeros(1, 128, 1, 64),
        zeros(1, 1, 2048, 512),
        zeros(1, 1, 2048, 64),
    )
    (kernel,) = kernels_of(
        lambda: torch_npu_sim.npu_fused_infer_attention_score_v2(
            query,
            keys,
            keys,
            query_rope=rope,
            key_rope=key_rope,
            num_query_heads=128,
            num_key_value_heads=1,
            input_layout="BNSD",
        )
    )
    assert kernel.work == "attention b1 h128/1 1x2048 d576/512 bf16"
    assert kernel.bytes_read == (128 + 2048) * 576 * 2
    assert kernel.bytes_written == 128 * 512 * 2


# --- cards before the Ascend 950


def test_older_operators_are_refused() -> None:
    parts = on_npu(operands(1, 2, 3))
    for op in (
        torch_npu_sim.npu_prompt_flash_attention,
        torch_npu_sim.npu_incre_flash_attention,
    ):
        with pytest.raises(RuntimeError, match="npu_(prompt|incre)_flash_attention.*ERR01007"):
            op(*parts, num_heads=HEADS, num_key_value_heads=KV_HEADS, input_layout="BNSD")


OLDER = """
import torch, torch_npu_sim
from torch_npu_sim.testing.reference import infer_attention as reference
q, k, v = torch.randn(2, 4, 5, 16).half(), *torch.randn(2, 2, 2, 7, 16).half()
out = torch_npu_sim.npu_prompt_flash_attention(
    q.npu(), k.npu(), v.npu(), num_heads=4, num_key_value_heads=2, scale_value=0.25,
    input_layout="BNSD_BSND", actual_seq_lengths=[5, 3], actual_seq_lengths_kv=[7, 4],
    atten_mask=torch.ones(2048, 2048).bool().triu(1).npu(), sparse_mode=13)
for b, (n, m) in enumerate([(5, 7), (3, 4)]):
    seen = reference.visible(3, n, m, 0, 0)
    want, _ = reference.attend(q[b, :, :n], k[b, :, :m], v[b, :, :m], 0.25, seen=seen)
    torch.testing.assert_close(
        out[b, :n].transpose(0, 1).cpu().double(), want, rtol=1e-2, atol=1e-2)
assert (out[1, 3:] == 0).all()
cache = torch.randn(3, 16, 32).half()
table = torch.tensor([[2, 0], [1, 1]]).int()
one = torch.randn(2, 1, 64).half()
out = torch_npu_sim.npu_incre_flash_attention(
    one.npu(), cache.npu(), cache.npu(), num_heads=4, num_key_value_heads=2, scale_value=0.25,
    block_table=table.npu(), block_size=16, actual_seq_lengths=[20, 3])
for b, n in enumerate((20, 3)):
    rows = cache[table[b].long()].flatten(0, 1)[:n].unflatten(-1, (2, 16)).transpose(0, 1)
    want, _ = reference.attend(one[b].view(1, 4, 16).transpose(0, 1), rows, rows, 0.25)
    torch.testing.assert_close(
        out[b].view(4, 1, 16).cpu().double(), want, rtol=1e-2, atol=1e-2)
print("done")
"""


def test_older_operators_compute_on_older_cards(run_python: Any) -> None:
    assert run_python(OLDER, NPU_SIM_CHIP="ascend910b2").stdout.strip() == "done"
