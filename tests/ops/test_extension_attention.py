"""Attention over a window and compressed keys against a softmax for each query."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import extension
from torch_npu_sim.testing.reference.sparse import paged

torch_npu_sim.enable_custom_ops()
ops, cann = torch.ops.custom, torch.ops.cann_ops_transformer

BF16 = torch.bfloat16
BLOCK, HEADS = 16, 3


def ints(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


class Case:
    """Two sequences: `queries` and `tokens` long, keys of `width` in blocks of 16."""

    def __init__(
        self,
        queries: list[int],
        tokens: list[int],
        ratio: int,
        chosen: int = 0,
        dtype: torch.dtype = BF16,
        width: int = 32,
    ) -> None:
        """Draws the tensors."""
        self.queries, self.tokens, self.ratio, self.width = queries, tokens, ratio, width
        total = sum(queries)
        self.q = torch.randn(total, HEADS, width).to(dtype)
        self.own = [torch.randn(t, width).to(dtype) for t in tokens]
        self.compressed = [
            torch.randn(t // ratio if ratio > 1 else 0, width).to(dtype) for t in tokens
        ]
        self.sinks = torch.randn(HEADS)
        self.tables = [torch.randperm(64)[:48].view(2, 24).int() for _ in range(2)]
        self.indices = ints([[-1] * chosen] * total) if chosen else None
        if self.indices is not None:
            for row in self.indices:
                picks = torch.randperm(max(tokens) // ratio + 3)[
                    : int(torch.randint(0, chosen + 1, ()))
                ]
                row[: len(picks)] = picks.int()

    def pages(self, which: int, rows: list[torch.Tensor]) -> torch.Tensor:
        made = [
            paged(r.float(), BLOCK, self.tables[which][i].tolist(), 64) for i, r in enumerate(rows)
        ]
        return (made[0] + made[1]).unsqueeze(2).to(rows[0].dtype)

    def options(self, **more: Any) -> dict[str, Any]:
        options: dict[str, Any] = {
            "ori_kv": self.pages(0, self.own),
            "ori_block_table": self.tables[0],
            "cu_seqlens_q": torch.cat([ints([0]), ints(self.queries).cumsum(0).int()]),
            "seqused_kv": ints(self.tokens),
            "sinks": self.sinks,
            "metadata": torch.zeros(1024, dtype=torch.int32),
            "softmax_scale": 0.3,
            "cmp_ratio": self.ratio,
            "layout_q": "TND",
        }
        if self.ratio > 1:
            options |= {"cmp_kv": self.pages(1, self.compressed), "cmp_block_table": self.tables[1]}
        if self.indices is not None:
            options["cmp_sparse_indices"] = self.indices[:, None]
        return options | more

    def want(self, before: int = 127, scale: float = 0.3) -> torch.Tensor:
        outs, first = [], 0
        for i, length in enumerate(self.queries):
            rows = slice(first, first + length)
            chosen = None
            if self.indices is not None:
                chosen = [[j for j in row if j >= 0] for row in self.indices[rows].tolist()]
            outs.append(
                extension.shared_attention(
                    self.q[rows].float(),
                    self.own[i].float(),
                    self.compressed[i].float(),
                    self.sinks,
                    scale,
                    chosen,
                    self.ratio,
                    before,
                )
            )
            first += length
        return torch.cat(outs)


SEQUENCES = [([1, 1], [300, 7]), ([5, 3], [140, 3]), ([7, 9], [7, 200])]


@pytest.mark.parametrize("dtype", [BF16, torch.float16])
@pytest.mark.parametrize(("ratio", "chosen"), [(1, 0), (4, 0), (4, 12), (128, 0)])
@pytest.mark.parametrize(("queries", "tokens"), SEQUENCES)
def test_queries_see_their_window_and_compressed_keys(
    queries: list[int], tokens: list[int], ratio: int, chosen: int, dtype: torch.dtype
) -> None:
    case = Case(queries, tokens, ratio, chosen, dtype)
    out, lse = ops.npu_sparse_attn_sharedkv(case.q.npu(), **on_npu(case.options()))
    assert (out.dtype, lse.numel()) == (dtype, 0)
    torch.testing.assert_close(out.cpu().float(), case.want(), rtol=8e-3, atol=8e-3)
    assert_meta_agrees(ops.npu_sparse_attn_sharedkv, case.q, **case.options())


def test_windows_have_the_width_asked_for_and_scale_defaults_to_the_root() -> None:
    case = Case([5, 3], [140, 30], 4)
    options = case.options(ori_win_left=9, softmax_scale=0.0)
    out, _ = ops.npu_sparse_attn_sharedkv(case.q.npu(), **on_npu(options))
    want = case.want(before=9, scale=32**-0.5)
    torch.testing.assert_close(out.cpu().float(), want, rtol=8e-3, atol=8e-3)


def test_batches_of_equal_length_need_no_running_sums() -> None:
    case = Case([4, 4], [140, 30], 4, 12)
    assert case.indices is not None
    options = case.options(cu_seqlens_q=None, layout_q="BSND")
    options["cmp_sparse_indices"] = case.indices.view(2, 4, 1, 12)
    out, _ = ops.npu_sparse_attn_sharedkv(case.q.view(2, 4, HEADS, 32).npu(), **on_npu(options))
    got = out.cpu().float().flatten(0, 1)
    torch.testing.assert_close(got, case.want(), rtol=8e-3, atol=8e-3)


@pytest.mark.parametrize(("ratio", "chosen"), [(1, 0), (4, 12), (128, 0)])
def test_packed_keys_are_what_their_epilog_writes(ratio: int, chosen: int) -> None:
    case = Case([5, 3], [140, 30], ratio, chosen, width=192)
    options = case.options(kv_quant_mode=1, tile_size=64, rope_head_dim=64)
    for which, name, rows in ((0, "ori_kv", case.own), (1, "cmp_kv", case.compressed)):
        if name not in options:
            continue
        cache = torch.zeros(64 * BLOCK, 384, dtype=torch.float8_e4m3fn, device="npu")
        for i, part in enumerate(rows):
            if not len(part):
                continue
            places = torch.arange(len(part))
            slots = case.tables[which][i, places // BLOCK] * BLOCK + places % BLOCK
            ops.kv_compress_epilog(cache, part.npu(), slots.int().npu())
        options[name] = cache.view(64, BLOCK, 1, 384)
    packed = [
        torch.stack(
            [
                extension.unpacked_key(extension.packed_key(k, torch.float8_e4m3fn), 192)
                for k in part
            ]
        )
        if len(part)
        else part
        for part in (*case.own, *case.compressed)
    ]
    case.own, case.compressed = packed[:2], packed[2:]
    moved = {
        k: v if k.endswith("_kv") and k != "seqused_kv" else on_npu(v) for k, v in options.items()
    }
    out, _ = ops.npu_kv_quant_sparse_attn_sharedkv(case.q.npu(), **moved)
    torch.testing.assert_close(out.cpu().float(), case.want(), rtol=8e-3, atol=8e-3)


@pytest.mark.parametrize("package", ["custom", "cann"])
@pytest.mark.parametrize(("ratio", "chosen"), [(1, 0), (4, 12)])
def test_hifloat8_operands_have_one_scale_each(package: str, ratio: int, chosen: int) -> None:
    case = Case([5, 3], [140, 30], ratio, chosen)
    codes = [
        torch.randint(4, 24, x.shape, dtype=torch.uint8)
        for x in (case.q, *case.own, *case.compressed)
    ]
    options = case.options(
        layout_kv="PA_BBND",
        ori_mask_mode=4,
        cmp_mask_mode=3,
        ori_win_left=127,
        ori_win_right=0,
        q_descale=torch.tensor([0.5]),
        ori_kv_descale=torch.tensor([2.0]),
        cmp_kv_descale=torch.tensor([3.0]),
    )
    options["seqused_ori_kv"] = options.pop("seqused_kv")
    options["ori_kv"] = case.pages(0, codes[1:3])
    if ratio > 1:
        options["cmp_kv"] = case.pages(1, codes[3:])
        options |= {"seqused_cmp_kv": ints([35, 7]), "cmp_residual_kv": ints([0, 2])}
    case.q = extension.hifloat8(codes[0]) * 0.5
    case.own = [extension.hifloat8(c) * 2 for c in codes[1:3]]
    case.compressed = [extension.hifloat8(c) * 3 for c in codes[3:]]
    name = {"custom": "qkv_quant_mode", "cann": "quant_mode"}[package]
    op = ops.npu_quant_sparse_flash_mla if package == "custom" else cann.quant_sparse_flash_mla
    out, _ = op(codes[0].npu(), **on_npu(options | {name: 1}))
    assert out.dtype == BF16
    torch.testing.assert_close(out.cpu().float(), case.want(), rtol=1e-2, atol=1e-2)
    assert_meta_agrees(op, codes[0], **(options | {name: 1}))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cmp_ratio": 8}, "cmp_ratio of 4 or 128"),
        ({"layout_q": "BNSD"}, "layout_q BSND or TND"),
        ({"layout_kv": "TND"}, "layout_kv of PA_ND"),
        ({"ori_kv": None}, "ori_kv, got None"),
        ({"cmp_kv": torch.zeros(64, 16, 1, 31, dtype=BF16)}, "cmp_kv of \\[blocks"),
        ({"cmp_kv": torch.zeros(64, 16, 1, 32)}, "cmp_kv of BFloat16"),
        ({"sinks": torch.zeros(2)}, "sinks of \\[3\\]"),
        ({"sinks": torch.zeros(3, dtype=BF16)}, "sinks of float32"),
        ({"metadata": None}, "metadata, int32"),
        ({"ori_mask_mode": 0}, "ori_mask_mode 4"),
        ({"cmp_mask_mode": 0}, "cmp_mask_mode 3"),
        ({"cu_seqlens_q": None}, "cu_seqlens_q"),
        ({"cu_seqlens_q": ints([5, 8])}, "cu_seqlens_q of running sums from 0"),
        ({"seqused_kv": None}, "seqused_kv of 2"),
        ({"seqused_kv": ints([9999, 2])}, "block_table"),
        ({"cmp_sparse_indices": torch.zeros(8, 2, 12, dtype=torch.int32)}, "cmp_sparse_indices of"),
        ({"ori_block_table": torch.full((2, 24), 64, dtype=torch.int32)}, "blocks in"),
    ],
)
def test_attention_names_the_argument_it_refuses(change: dict[str, Any], text: str) -> None:
    case = Case([5, 3], [140, 30], 4, 12)
    with pytest.raises(
        (ValueError, TypeError, IndexError),
        match=f"npu_sparse_attn_sharedkv: expected .*{text}",
    ):
        ops.npu_sparse_attn_sharedkv(case.q.npu(), **on_npu(case.options(**change)))


@pytest.mark.parametrize("name", ["ori_sparse_indices", "cu_seqlens_ori_kv", "seqused_q"])
def test_reserved_arguments_are_refused(name: str) -> None:
    case = Case([5, 3], [140, 30], 4)
    options = case.options(**{name: ints([1, 1])})
    with pytest.raises(NotImplementedError, match=f"{name} is reserved"):
        ops.npu_sparse_attn_sharedkv(case.q.npu(), **on_npu(options))


PLANS: list[tuple[Any, tuple[int, ...], str]] = [
    (ops.npu_sparse_attn_sharedkv_metadata, (64, 1, 512), "cu_seqlens_q"),
    (ops.npu_kv_quant_sparse_attn_sharedkv_metadata, (64, 1, 640, 1), "seqused_kv"),
    (ops.npu_quant_lightning_indexer_metadata, (64, 1, 128, 0, 0), "actual_seq_lengths_key"),
    (cann.quant_lightning_indexer_metadata, (64, 1, 128, 512, 4), "seqused_k"),
    (cann.quant_sparse_flash_mla_metadata, (64, 1, 512, 1), "cu_seqlens_q"),
]


@pytest.mark.parametrize(("op", "heads", "name"), PLANS)
def test_plans_are_1024_integers(op: Any, heads: tuple[int, ...], name: str) -> None:
    options = {name: ints([0, 9])}
    plan = op(*heads, **on_npu(options))
    assert (plan.shape, plan.dtype, plan.device.type) == ((1024,), torch.int32, "npu")
    assert_meta_agrees(op, *heads, **options)
    with pytest.raises(ValueError, match="query heads, one key head"):
        op(heads[0], 2, *heads[2:], **on_npu(options))
    with pytest.raises(TypeError, match=f"{name} of int32"):
        op(*heads, **{name: options[name].long().npu()})
