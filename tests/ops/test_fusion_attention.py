"""Training attention against all scores at once in fp64, its gradients against autograd's."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.reference import fusion_attention as reference

OPS = torch.ops.npu
LAYOUTS = ("BSH", "SBH", "BSND", "BNSD")
ROUNDING = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@dataclass
class Case:
    """Operands as [batch, heads, tokens, width] and what is seen of each sequence's scores."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    seen: list[torch.Tensor]
    scale: float = 0.3
    bias: list[torch.Tensor | None] = field(default_factory=list)
    sink: torch.Tensor | None = None
    kept: list[torch.Tensor | None] = field(default_factory=list)

    def wanted(self, lengths: list[tuple[int, int]] | None = None) -> list[reference.Attended]:
        """Returns each sequence's results; packed sequences where `lengths` are given."""
        count = len(lengths) if lengths is not None else len(self.query)
        results, q, k = [], 0, 0
        for s in range(count):
            if lengths is None:
                parts = self.query[s], self.key[s], self.value[s]
            else:
                queries, keys = lengths[s]
                parts = (
                    self.query[0, :, q : q + queries],
                    self.key[0, :, k : k + keys],
                    self.value[0, :, k : k + keys],
                )
                q, k = q + queries, k + keys
            bias = self.bias[s] if self.bias else None
            kept = self.kept[s] if self.kept else None
            seen = self.seen[s if len(self.seen) > 1 else 0]
            results.append(reference.attend(*parts, seen, self.scale, bias, self.sink, kept))
        return results


def leaves(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Returns random numbers that `dtype` has, in fp64, which want a gradient."""
    return [torch.randn(s).to(dtype).double().requires_grad_() for s in shapes]


def operands(  # noqa: PLR0913
    batch: int,
    heads: int,
    key_heads: int,
    queries: int,
    keys: int,
    width: int = 16,
    value_width: int = 0,
    dtype: torch.dtype = torch.float32,
) -> list[torch.Tensor]:
    return leaves(
        (batch, heads, queries, width),
        (batch, key_heads, keys, width),
        (batch, key_heads, keys, value_width or width),
        dtype=dtype,
    )


def card(x: torch.Tensor, dtype: torch.dtype, layout: str = "BNSD") -> torch.Tensor:
    return reference.from_heads(x.detach().to(dtype), layout).npu().requires_grad_()


def assert_close(got: torch.Tensor | None, want: torch.Tensor | None, tolerance: float) -> None:
    assert got is not None and want is not None
    torch.testing.assert_close(
        got.detach().cpu().double(), want.detach().double(), rtol=tolerance, atol=tolerance
    )


def check(  # noqa: PLR0913
    case: Case,
    layout: str = "BNSD",
    dtype: torch.dtype = torch.float32,
    lengths: list[tuple[int, int]] | None = None,
    op: Any = None,
    **kwargs: Any,
) -> Any:
    """Compares result, statistics and gradients of a call with those of the case."""
    parts = [card(x, dtype, layout) for x in (case.query, case.key, case.value)]
    heads = case.query.shape[1]
    if lengths is not None:
        sums = torch.tensor(lengths).cumsum(0).T.tolist()
        kwargs |= {"actual_seq_qlen": sums[0], "actual_seq_kvlen": sums[1]}
    results = (op or torch_npu_sim.npu_fusion_attention)(
        *parts, heads, layout, scale=case.scale, **kwargs
    )
    out, greatest, total, unused = results[:4]
    wanted = case.wanted(lengths)
    joined = (
        torch.stack([w.out for w in wanted])
        if lengths is None
        else torch.cat([w.out for w in wanted], 1)[None]
    )
    tolerance = ROUNDING[dtype]
    assert_close(out, reference.from_heads(joined, layout), tolerance)
    assert out.dtype == dtype and unused.shape == (0,) and unused.dtype == dtype
    rows = [x.detach().cpu().view(-1, 8) for x in (greatest, total)]
    for got, name in zip(rows, ("greatest", "total"), strict=True):
        assert got.dtype == torch.float32 and torch.equal(got, got[:, :1].expand(-1, 8))
        assert_close(got[:, 0], torch.cat([getattr(w, name).flatten() for w in wanted]), tolerance)
    grad = torch.randn(out.shape).to(dtype)
    out.backward(grad.npu())
    joined.backward(reference.to_heads(grad.double(), layout, heads))
    for got, want in zip(parts, (case.query, case.key, case.value), strict=True):
        assert want.grad is not None
        assert_close(got.grad, reference.from_heads(want.grad, layout), 4 * tolerance)
    return results


def hidden(seen: torch.Tensor) -> torch.Tensor:
    return (~seen).npu()


def triangle(rows: int = 2048) -> torch.Tensor:
    return torch.triu(torch.ones(rows, 2048, dtype=torch.bool), 1).npu()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_dtype_without_a_mask(layout: str, dtype: torch.dtype) -> None:
    case = Case(*operands(2, 4, 2, 7, 9, dtype=dtype), seen=[reference.visible(1, 7, 9)])
    check(case, layout, dtype)


@pytest.mark.parametrize(
    ("queries", "keys", "width", "value_width"),
    [(1, 1, 8, 8), (1, 700, 16, 16), (300, 1, 8, 8), (260, 530, 24, 8), (129, 513, 40, 40)],
)
def test_lengths_on_and_across_the_edges_of_tiles(
    queries: int, keys: int, width: int, value_width: int
) -> None:
    parts = operands(1, 2, 1, queries, keys, width, value_width)
    check(Case(*parts, seen=[reference.visible(1, queries, keys)]))


@pytest.mark.parametrize(("queries", "keys"), [(9, 9), (5, 12), (12, 5), (150, 700), (300, 290)])
@pytest.mark.parametrize("mode", [2, 3])
def test_causal_modes(mode: int, queries: int, keys: int) -> None:
    case = Case(*operands(1, 2, 2, queries, keys), seen=[reference.visible(mode, queries, keys)])
    check(case, sparse_mode=mode, atten_mask=triangle())


@pytest.mark.parametrize(("pre", "following"), [(3, 2), (0, 0), (-2, 6), (5, -1), (1 << 40, 3)])
@pytest.mark.parametrize(("queries", "keys"), [(9, 9), (6, 13), (13, 6), (140, 520)])
def test_a_band_starts_at_the_last_corner(
    queries: int, keys: int, pre: int, following: int
) -> None:
    seen = reference.visible(4, queries, keys, pre, following)
    case = Case(*operands(1, 2, 1, queries, keys), seen=[seen])
    check(case, sparse_mode=4, atten_mask=triangle(), pre_tockens=pre, next_tockens=following)


@pytest.mark.parametrize("shape", ["SS", "11SS", "B1SS", "BNSS"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_masks_of_every_shape_hide_what_is_set(shape: str, dtype: torch.dtype) -> None:
    sizes = {"SS": (6, 8), "11SS": (1, 1, 6, 8), "B1SS": (2, 1, 6, 8), "BNSS": (2, 4, 6, 8)}[shape]
    seen = torch.rand(sizes) < 0.6
    case = Case(*operands(2, 4, 2, 6, 8), seen=list(seen.expand(2, 4, 6, 8)))
    check(case, atten_mask=hidden(seen).to(dtype), sparse_mode=1)


def test_the_default_mode_takes_mask_and_band_together() -> None:
    seen = torch.rand(9, 9) < 0.7
    case = Case(*operands(1, 2, 2, 9, 9), seen=[seen & reference.visible(0, 9, 9, 4, 2)])
    check(case, atten_mask=hidden(seen), pre_tockens=4, next_tockens=2)


def test_without_a_mask_the_mode_says_nothing() -> None:
    case = Case(*operands(1, 2, 2, 5, 7), seen=[reference.visible(1, 5, 7)])
    check(case, sparse_mode=3, pre_tockens=1, next_tockens=0)


@pytest.mark.parametrize(("queries", "keys"), [(8, 8), (5, 9), (9, 5)])
@pytest.mark.parametrize("mode", [5, 6])
def test_prefixes_are_seen_by_all(mode: int, queries: int, keys: int) -> None:
    prefix = [max(0, keys - queries), keys - 1]
    seen = [reference.visible(mode, queries, keys, prefix=p) for p in prefix]
    case = Case(*operands(2, 2, 2, queries, keys), seen=seen)
    mask = hidden(torch.stack(seen)[:, None]) if mode == 5 else triangle(3072)
    check(case, sparse_mode=mode, atten_mask=mask, prefix=prefix)


def test_rows_that_see_nothing_are_zero_and_get_no_gradient() -> None:
    seen = torch.ones(6, 8, dtype=torch.bool)
    seen[2] = seen[5] = False
    out, greatest, total, *_ = check(
        Case(*operands(1, 2, 1, 6, 8), seen=[seen]), sparse_mode=1, atten_mask=hidden(seen)
    )
    assert not out[:, :, 2].any() and greatest[0, 0, 2, 0] == -torch.inf and total[0, 0, 2, 0] == 0


LENGTHS = [[(3, 3)], [(4, 7), (1, 2), (6, 6)], [(0, 3), (5, 5), (2, 0)], [(200, 150), (70, 600)]]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("mode", [0, 2, 3, 4])
def test_packed_sequences_see_their_own_keys(mode: int, lengths: list[tuple[int, int]]) -> None:
    queries, keys = (sum(x) for x in zip(*lengths, strict=True))
    seen = [reference.visible(mode, q, k, 2, 1) for q, k in lengths]
    case = Case(*operands(1, 4, 2, queries, keys), seen=seen)
    kwargs: dict[str, Any] = {"sparse_mode": mode, "pre_tockens": 2, "next_tockens": 1}
    if mode == 0:
        longest = [max(x) for x in zip(*lengths, strict=True)]
        kwargs["atten_mask"] = torch.zeros(longest, dtype=torch.bool).npu()
    else:
        kwargs["atten_mask"] = triangle()
    check(case, "TND", lengths=lengths, **kwargs)


@pytest.mark.parametrize("mode", [7, 8])
def test_a_sequence_cut_by_the_model_is_a_band(mode: int) -> None:
    lengths = [(3, 5), (4, 4), (4, 6)]
    band = 2 if mode == 7 else 0
    others = 3 if mode == 7 else 2
    seen = [
        reference.visible(mode if s == band else others, q, k, 6, -1)
        for s, (q, k) in enumerate(lengths)
    ]
    case = Case(*operands(1, 2, 2, 11, 15), seen=seen)
    check(
        case,
        "TND",
        lengths=lengths,
        sparse_mode=mode,
        atten_mask=triangle(),
        pre_tockens=6,
        next_tockens=-1,
    )


def test_sequences_left_out_at_the_end_are_zeros() -> None:
    query, key, value = (x.detach().float() for x in operands(1, 2, 2, 6, 6))
    parts = [card(x, torch.float32, "TND") for x in (query, key, value)]
    out, *_ = torch_npu_sim.npu_fusion_attention(
        *parts, 2, "TND", actual_seq_qlen=[2, 4, 0], actual_seq_kvlen=[2, 4, 0]
    )
    assert not out[4:].any() and out[:4].all()


def test_statistics_by_token_where_they_are_asked_for() -> None:
    lengths = [(2, 3), (4, 4)]
    parts = [card(x, torch.float32, "TND") for x in operands(1, 3, 3, 6, 7)]
    sums = {"actual_seq_qlen": [2, 6], "actual_seq_kvlen": [3, 7]}
    blocks, tokens = (
        torch_npu_sim.npu_fusion_attention(*parts, 3, "TND", softmax_layout=s, **sums)[1].cpu()
        for s in ("", "TND")
    )
    assert blocks.shape == tokens.shape == (6, 3, 8)
    want = [
        p.unflatten(0, (q, 3)).transpose(0, 1)
        for p, (q, _) in zip(tokens.flatten(0, 1).split([6, 12]), lengths, strict=True)
    ]
    torch.testing.assert_close(blocks.flatten(0, 1), torch.cat([w.flatten(0, 1) for w in want]))


def test_the_gradient_reads_statistics_by_token() -> None:
    parts = operands(1, 2, 1, 6, 7)
    grads = []
    for layout in ("", "TND"):
        ours = [card(x, torch.float32, "TND") for x in parts]
        out, *_ = torch_npu_sim.npu_fusion_attention(
            *ours,
            2,
            "TND",
            actual_seq_qlen=[2, 6],
            actual_seq_kvlen=[3, 7],
            softmax_layout=layout,
        )
        (out * torch.arange(out.numel()).view(out.shape).npu()).sum().backward()
        grads.append([x.grad for x in ours])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("shape", [(2, 4, 6, 8), (1, 4, 6, 8), (2, 4, 1, 8)])
def test_pse_is_added_before_the_scale(shape: tuple[int, ...]) -> None:
    (pse,) = leaves(shape)
    case = Case(*operands(2, 4, 2, 6, 8), seen=[reference.visible(1, 6, 8)])
    case.bias = list(pse.expand(2, 4, 6, 8) * case.scale)
    ours = pse.detach().float().npu().requires_grad_()
    check(case, pse=ours)
    assert_close(ours.grad, pse.grad, 1e-4)


def test_pse_of_a_version_2_call_may_be_added_after_the_scale() -> None:
    (pse,) = leaves((1, 2, 5, 5))
    case = Case(*operands(1, 2, 2, 5, 5), seen=[reference.visible(1, 5, 5)])
    case.bias = list(pse.expand(1, 2, 5, 5))
    ours = pse.detach().float().npu().requires_grad_()
    check(case, op=torch_npu_sim.npu_fusion_attention_v2, pse=ours, pse_type=0)
    assert_close(ours.grad, pse.grad, 1e-4)


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("by_batch", [False, True])
def test_slopes_make_an_alibi(root: bool, by_batch: bool) -> None:
    slopes = torch.rand(2, 3) if by_batch else torch.rand(3).expand(2, 3)
    bias = [reference.slope_bias(s, 7, 7, shift=2) for s in slopes.double()]
    if root:
        bias = [
            -(b / s[:, None, None]).abs().sqrt() * s[:, None, None]
            for b, s in zip(bias, slopes.double(), strict=True)
        ]
    case = Case(*operands(2, 3, 3, 7, 7), seen=[reference.visible(1, 7, 7)], bias=list(bias))
    check(
        case,
        op=torch_npu_sim.npu_fusion_attention_v2,
        pse=(slopes if by_batch else slopes[0]).npu(),
        pse_type=3 if root else 2,
        q_start_idx=[3],
        kv_start_idx=[1],
    )


def test_the_last_rows_of_an_alibi_stand_for_all() -> None:
    length = 1500
    slopes = torch.tensor([0.01, 0.05])
    whole = reference.slope_bias(slopes, length, length)
    parts = operands(1, 2, 2, length, length, 8)
    ours = [card(x, torch.float32) for x in parts]
    kwargs: dict[str, Any] = {"scale": 0.3, "sparse_mode": 2, "atten_mask": triangle()}
    full, last = (
        torch_npu_sim.npu_fusion_attention(*ours, 2, "BNSD", pse=p[None].npu(), **kwargs)[0]
        for p in (whole, whole[:, -1024:])
    )
    torch.testing.assert_close(full, last)


def test_a_sink_takes_a_share_of_the_weights() -> None:
    (sink,) = leaves((4,))
    seen = torch.rand(6, 8) < 0.5
    seen[3] = False
    case = Case(*operands(2, 4, 2, 6, 8), seen=[seen], sink=sink)
    ours = sink.detach().float().npu().requires_grad_()
    check(case, sink=ours, sparse_mode=1, atten_mask=hidden(seen))
    assert_close(ours.grad, sink.grad, 1e-4)


@pytest.mark.parametrize("lengths", [None, [(5, 7), (3, 2)]])
def test_rope_parts_join_query_and_key(lengths: list[tuple[int, int]] | None) -> None:
    layout = "BSND" if lengths is None else "TND"
    batch = 2 if lengths is None else 1
    query, key, value = operands(batch, 4, 2, 8, 9)
    query_rope, key_rope = leaves((batch, 4, 8, 6), (batch, 2, 9, 6))
    seen = [reference.visible(1, *(lengths[s] if lengths else (8, 9))) for s in range(2)]
    case = Case(torch.cat((query, query_rope), -1), torch.cat((key, key_rope), -1), value, seen)
    ours = [card(x, torch.float32, layout) for x in (query, key, value, query_rope, key_rope)]
    sums = {"actual_seq_qlen": [5, 8], "actual_seq_kvlen": [7, 9]} if lengths else {}
    out, *_ = torch_npu_sim.npu_fusion_attention_v2(
        *ours[:3], 4, layout, query_rope=ours[3], key_rope=ours[4], scale=case.scale, **sums
    )
    wanted = [w.out for w in case.wanted(lengths)]
    joined = torch.stack(wanted) if lengths is None else torch.cat(wanted, 1)[None]
    assert_close(out, reference.from_heads(joined, layout), 2e-5)
    out.square().sum().backward()
    joined.square().sum().backward()
    for got, want in zip(ours, (query, key, value, query_rope, key_rope), strict=True):
        assert want.grad is not None
        assert_close(got.grad, reference.from_heads(want.grad, layout), 1e-4)


def bits(mask: torch.Tensor, count: int) -> torch.Tensor:
    return ((mask.cpu()[:, None] >> torch.arange(8)) & 1).flatten()[:count].bool()


def test_a_dropout_mask_drops_weights_and_its_seed_the_gradient() -> None:
    shape, keep = (2, 4, 6, 9), 0.75
    mask = OPS._npu_dropout_gen_mask(torch.ones(1).npu(), list(shape), 1 - keep, 7, 3)
    kept = bits(mask, 432).view(shape) / keep
    case = Case(*operands(2, 4, 2, 6, 9), seen=[reference.visible(1, 6, 9)], kept=list(kept))
    results = check(case, keep_prob=keep, dropout_mask=mask, seed=7, offset=3)
    assert results[4:] == (7, 3, 432)


def test_a_seed_drops_as_its_mask_does() -> None:
    lengths, keep = [(3, 5), (130, 520)], 0.5
    count = 2 * sum(q * k for q, k in lengths)
    mask = OPS._npu_dropout_gen_mask(torch.ones(1).npu(), [count], 1 - keep, 11, 2)
    parts = bits(mask, count).split([2 * q * k for q, k in lengths])
    kept = [p.view(2, q, k) / keep for p, (q, k) in zip(parts, lengths, strict=True)]
    seen = [reference.visible(1, q, k) for q, k in lengths]
    case = Case(*operands(1, 2, 1, 133, 525), seen=seen, kept=list(kept))
    check(case, "TND", lengths=lengths, keep_prob=keep, seed=11, offset=2)


def test_a_seed_is_drawn_only_to_drop() -> None:
    parts = [card(x, torch.float32) for x in operands(1, 2, 2, 8, 8)]
    torch.npu.manual_seed(3)
    before = torch.npu.get_rng_state()
    assert torch_npu_sim.npu_fusion_attention(*parts, 2, "BNSD")[4:] == (0, 0, 128)
    assert torch.equal(before, torch.npu.get_rng_state())
    one = torch_npu_sim.npu_fusion_attention(*parts, 2, "BNSD", keep_prob=0.5)
    two = torch_npu_sim.npu_fusion_attention(*parts, 2, "BNSD", keep_prob=0.5)
    assert one[4] not in (0, two[4]) and not torch.equal(one[0], two[0])
    torch.npu.manual_seed(3)
    again = torch_npu_sim.npu_fusion_attention(*parts, 2, "BNSD", keep_prob=0.5)
    assert again[4] == one[4] and torch.equal(again[0], one[0])


@pytest.mark.parametrize("shape", [(0, 2, 4, 8), (2, 2, 0, 8)])
def test_no_queries_make_no_rows(shape: tuple[int, ...]) -> None:
    query = torch.zeros(shape).npu()
    key = torch.zeros(shape[0], 2, 3, 8).npu()
    out, greatest, *_ = torch_npu_sim.npu_fusion_attention(query, key, key, 2, "BNSD")
    assert out.shape == shape and greatest.shape == (*shape[:3], 8)


def test_views_that_lie_apart_are_read_as_they_lie() -> None:
    whole = torch.randn(2, 6, 3, 4, 16)
    query, key, value = whole.npu().unbind(2)
    assert not query.is_contiguous()
    got = torch_npu_sim.npu_fusion_attention(query, key, value, 4, "BSND", scale=0.2)[0]
    dense = [x.contiguous().npu() for x in whole.unbind(2)]
    assert torch.equal(got, torch_npu_sim.npu_fusion_attention(*dense, 4, "BSND", scale=0.2)[0])
    turned = torch.randn(2, 4, 16, 6).npu().mT
    got = torch_npu_sim.npu_fusion_attention(turned, turned, turned, 4, "BNSD")[0]
    dense = [turned.contiguous()] * 3
    assert torch.equal(got, torch_npu_sim.npu_fusion_attention(*dense, 4, "BNSD")[0])


def test_not_a_number_stays_in_its_row() -> None:
    query, key, value = (x.detach().float() for x in operands(1, 2, 2, 6, 8))
    query[0, 1, 3] = torch.nan
    out, *_ = torch_npu_sim.npu_fusion_attention(*on_npu((query, key, value)), 2, "BNSD")
    bad = out.isnan().any(-1).cpu()
    assert bad[0, 1, 3] and bad.sum() == 1


def test_a_row_that_sees_nothing_is_zero_whatever_the_values_are() -> None:
    query, key, value = (x.detach().float() for x in operands(1, 1, 1, 2, 3))
    value[0, 0, 1] = torch.inf
    seen = torch.tensor([[True, False, True], [False] * 3])
    out, *_ = torch_npu_sim.npu_fusion_attention(
        *on_npu((query, key, value)), 1, "BNSD", atten_mask=hidden(seen), sparse_mode=1
    )
    assert not out[0, 0, 1].any()
