"""Attention to parts of the keys, put together, is attention to all of them."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import fusion_attention as reference

OPS = torch.ops.npu
ROUNDING = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
DTYPES = list(ROUNDING)


def parts_of(batch: int, heads: int, queries: int, keys: int) -> list[torch.Tensor]:
    return [torch.randn(batch, heads, n, 16) for n in (queries, keys, keys)]


def eight(x: torch.Tensor) -> torch.Tensor:
    return x[..., None].expand(*x.shape, 8).contiguous()


def attended(parts: list[torch.Tensor], seen: torch.Tensor) -> list[torch.Tensor]:
    """Returns out, greatest and total of [batch, heads, ...] operands."""
    results = [reference.attend(q, k, v, seen, 0.3) for q, k, v in zip(*parts, strict=True)]
    return [torch.stack([getattr(r, n) for r in results]) for n in ("out", "greatest", "total")]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["SBH", "TND"])
def test_a_ring_step_adds_the_keys_of_another_card(layout: str, dtype: torch.dtype) -> None:
    batch = 2 if layout == "SBH" else 1
    query, key, value = parts_of(batch, 3, 5, 12)
    whole = attended([query, key, value], torch.ones(5, 12, dtype=torch.bool))
    given: list[torch.Tensor] = []
    for first, last in ((0, 7), (7, 12)):
        part = [query, key[:, :, first:last], value[:, :, first:last]]
        out, *rows = attended(part, torch.ones(5, last - first, dtype=torch.bool))
        statistics = rows if layout == "SBH" else [r[0].T for r in rows]
        given += [reference.from_heads(out, layout).to(dtype), *map(eight, statistics)]
    kwargs: dict[str, Any] = {}
    if layout == "TND":
        kwargs = {
            "actual_seq_qlen": torch.tensor([2, 5]),
            "input_layout": "TND",
            "input_softmax_layout": "TND",
        }
    got = torch_npu_sim.npu_ring_attention_update(*on_npu(given), **on_npu(kwargs))
    out, greatest, total = (x.cpu() for x in got)
    rows = whole[1:] if layout == "SBH" else [x[0].T for x in whole[1:]]
    tolerance = ROUNDING[dtype]
    assert out.dtype == dtype
    torch.testing.assert_close(
        out.float(), reference.from_heads(whole[0], layout), rtol=tolerance, atol=tolerance
    )
    torch.testing.assert_close(greatest, eight(rows[0]))
    torch.testing.assert_close(total, eight(rows[1]))
    assert_meta_agrees(torch_npu_sim.npu_ring_attention_update, *given, **kwargs)


def test_packed_statistics_lie_sequence_after_sequence_unless_said_otherwise() -> None:
    out = [torch.randn(5, 2, 64) for _ in range(2)]
    by_token = [torch.rand(5, 2) + 0.2 for _ in range(4)]

    def in_blocks(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([p.T.flatten() for p in x.split([2, 3])]).view(5, 2)

    def update(rows: list[torch.Tensor], order: str) -> torch.Tensor:
        given = [out[0], *map(eight, rows[:2]), out[1], *map(eight, rows[2:])]
        return torch_npu_sim.npu_ring_attention_update(
            *on_npu(given),
            actual_seq_qlen=torch.tensor([2, 5]).npu(),
            input_layout="TND",
            input_softmax_layout=order,
        )[0]

    assert torch.equal(update(by_token, "TND"), update([in_blocks(x) for x in by_token], ""))


def test_a_row_that_neither_step_attends_with_stays_zero() -> None:
    out = torch.zeros(2, 1, 16)
    greatest, total = eight(torch.full((1, 1, 2), -torch.inf)), eight(torch.zeros(1, 1, 2))
    got = torch_npu_sim.npu_ring_attention_update(*on_npu((out, greatest, total) * 2))
    assert torch.equal(got[0].cpu(), out) and torch.equal(got[2].cpu(), total)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_parts_are_weighed_by_their_share(count: int, dtype: torch.dtype) -> None:
    lse = [torch.randn(6) for _ in range(count)]
    outs = [torch.randn(6, 16).to(dtype) for _ in range(count)]
    out, total = torch_npu_sim.npu_attention_update(on_npu(lse), on_npu(outs), 1)
    weights = torch.stack(lse).double().softmax(0)
    want = (weights[..., None] * torch.stack(outs).double()).sum(0)
    tolerance = ROUNDING[dtype]
    assert out.dtype == dtype
    torch.testing.assert_close(out.cpu().double(), want, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(total.cpu(), torch.stack(lse).exp().sum(0).log())


def test_update_without_lse_gives_the_result_alone() -> None:
    lse, outs = [torch.tensor([0.0, -torch.inf])] * 2, [torch.ones(2, 8)] * 2
    out, total = OPS.npu_attention_update(on_npu(lse), on_npu(outs), 0)
    assert total is None or total.numel() == 0
    assert torch.equal(out.cpu(), torch.tensor([[1.0], [0.0]]).expand(2, 8))


def test_errors_name_the_argument() -> None:
    out, rows = torch.zeros(4, 2, 16), torch.zeros(2, 2, 4, 8)
    good = [out, rows, rows] * 2

    def fails(match: str, args: list[Any], error: type[Exception] = ValueError, **kw: Any) -> None:
        with pytest.raises(error, match=f"npu_ring_attention_update: expected .*{match}"):
            torch_npu_sim.npu_ring_attention_update(*on_npu(args), **on_npu(kw))

    fails("input_layout", good, input_layout="BSH")
    fails("input_softmax_layout", good, input_softmax_layout="BSH")
    fails("cur_attn_out", [out, rows, rows, out[:3], rows, rows])
    fails("softmax_max", [out, rows, rows, out, rows[:1], rows])
    fails("softmax_max", [out, *[rows[..., :7]] * 2] * 2)
    fails("float32", [out, rows.half(), rows] * 2, TypeError)
    fails("float16, float32", [out.double(), rows, rows] * 2, TypeError)
    packed = [out, rows[0].transpose(0, 1), rows[0].transpose(0, 1)] * 2
    fails("actual_seq_qlen", packed, input_layout="TND")
    lengths = torch.tensor([2, 5])
    fails("end at 4", packed, input_layout="TND", actual_seq_qlen=lengths)
    fails("int64", packed, TypeError, input_layout="TND", actual_seq_qlen=lengths.int())

    def update_fails(match: str, *args: Any, error: type[Exception] = ValueError) -> None:
        with pytest.raises(error, match=f"npu_attention_update: expected .*{match}"):
            torch_npu_sim.npu_attention_update(*on_npu(args))

    lse, part = torch.zeros(3), torch.zeros(3, 8)
    update_fails("as many", [lse] * 2, [part], 0)
    update_fails("1 to 16", [lse] * 17, [part] * 17, 0)
    update_fails("update_type", [lse], [part], 2)
    update_fails("multiple of 8", [lse], [part[:, :7]], 0)
    update_fails("lse of", [lse[:2]], [part], 0)
    update_fails("lse of float32", [lse.half()], [part], 0, error=TypeError)


def test_updates_stream_their_operands() -> None:
    out, rows = torch.zeros(64, 2, 256).half().npu(), torch.zeros(2, 4, 64, 8).npu()
    lse, part = torch.zeros(128).npu(), torch.zeros(128, 64).npu()
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_ring_attention_update(
            out, rows, rows.clone(), out.clone(), rows.clone(), rows.clone()
        )
        torch_npu_sim.npu_attention_update([lse, lse.clone()], [part, part.clone()], 1)
    ring, update = [k for k in trace.kernels if k.op.startswith("npu::")]
    result, statistics = 64 * 2 * 256 * 2, 2 * 4 * 64 * 8 * 4
    assert ring.bytes_read == 2 * (result + 2 * statistics)
    assert ring.bytes_written == result + 2 * statistics
    assert update.bytes_read == 2 * (128 + 128 * 64) * 4
    assert update.bytes_written == (128 + 128 * 64) * 4
