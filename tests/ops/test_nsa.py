"""Native and block sparse attention, computed in a process of their own on a card that has them.

An Ascend 950 refuses them, which test_infer_forms.py tests.
"""

import pytest

from tests.conftest import RunPython

HEAD = """
import pytest, torch, torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import nsa
torch.manual_seed(0)
def close(got, want, tolerance=0.02):
    assert got.shape == want.shape, (got.shape, want.shape)
    torch.testing.assert_close(
        got.detach().cpu().double(), want.detach().double(), rtol=tolerance, atol=tolerance)
def leaf(*shape, dtype=torch.float16):
    return torch.randn(*shape).to(dtype).requires_grad_()
"""

COMPRESS = """
for dtype in (torch.float16, torch.bfloat16):
    x, w = leaf(90, 3, 16, dtype=dtype), leaf(32, 3, dtype=dtype)
    sums = [33, 40, 40, 90]
    card = on_npu((x, w))
    out = torch_npu_sim.npu_nsa_compress(*card, 32, 16, actual_seq_len=sums)
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    parts = [nsa.compressed(wide[0][a:b], wide[1], 16) for a, b in zip([0, *sums], sums)]
    want = torch.cat(parts)
    assert out.dtype == dtype
    close(out, want, 0.05)
    grad = torch.randn_like(want).to(dtype)
    out.backward(grad.npu())
    want.backward(grad.double())
    for got, expected in zip(card, wide):
        close(got.grad, expected.grad, 0.05)
    with torch.no_grad():
        assert_meta_agrees(torch_npu_sim.npu_nsa_compress, x, w, 32, 16, actual_seq_len=sums)
        with pytest.raises(ValueError, match="npu_nsa_compress: expected actual_seq_len"):
            torch_npu_sim.npu_nsa_compress(*card, 32, 16, actual_seq_len=[80])
        with pytest.raises(ValueError, match="npu_nsa_compress: expected weight"):
            torch_npu_sim.npu_nsa_compress(*card, 16, 16, actual_seq_len=sums)
        with pytest.raises(TypeError, match="npu_nsa_compress: expected input of float16"):
            torch_npu_sim.npu_nsa_compress(card[0].float(), card[1], 32, 16, actual_seq_len=sums)
# One token more: a window ends at lengths 32 and 48 of the first and third sequence.
pages, w = torch.randn(6, 32, 2, 16).half(), torch.randn(32, 2).half()
table = torch.tensor([[5, 0], [1, 1], [2, 4]]).int()
cache = torch.zeros(4, 2, 16).half().npu()
torch_npu_sim.npu_nsa_compress_infer(
    pages.npu(), w.npu(), torch.tensor([3, 99, 1]).int().npu(), 32, 16, 32,
    block_table=table.npu(), actual_seq_len=[32, 40, 48], cache=cache)
want = torch.zeros(4, 2, 16, dtype=torch.float64)
for slot, row, length in ((3, 0, 32), (1, 2, 48)):
    tokens = pages[table[row].long()].flatten(0, 1)[length - 32 : length].double()
    want[slot] = (tokens * w.double()[..., None]).sum(0)
close(cache, want, 0.05)
with pytest.raises(IndexError, match="npu_nsa_compress_infer: expected slot_mapping"):
    torch_npu_sim.npu_nsa_compress_infer(
        pages.npu(), w.npu(), torch.tensor([4, 0, 0]).int().npu(), 32, 16, 32,
        block_table=table.npu(), actual_seq_len=[32, 40, 48], cache=cache)
tokens = torch.randn(50, 2, 16).half()
torch_npu_sim.npu_nsa_compress_infer(
    tokens.npu(), w.npu(), torch.tensor([0, 2]).int().npu(), 32, 16, 32,
    actual_seq_len=[2, 48], cache=cache)
close(cache[2], (tokens[18:].double() * w.double()[..., None]).sum(0), 0.05)
"""

SELECT = """
def pick(tokens, heads, count, blocks):
    return torch.stack([torch.stack([torch.randperm(blocks)[:count] for _ in range(heads)])
                        for _ in range(tokens)]).int()
op = torch_npu_sim.npu_nsa_select_attention
for causal in (False, True):
    q, k, v = leaf(7, 4, 16), leaf(80, 2, 16), leaf(80, 2, 8)
    queries, keys = [3, 7], [48, 80]
    indices = torch.cat((pick(3, 2, 2, 3), pick(4, 2, 2, 2)))
    mask = torch.ones(80, 80).bool().triu(1).npu() if causal else None
    card = on_npu((q, k, v))
    out, greatest, total = op(*card, indices.npu(), 0.3, 4, 16, 2, atten_mask=mask,
                              actual_seq_qlen=queries, actual_seq_kvlen=keys)
    wide = [t.detach().double().requires_grad_() for t in (q, k, v)]
    rows, sums = [], []
    for a, b, c, d in ((0, 3, 0, 48), (3, 7, 48, 80)):
        seen = nsa.selected_mask(indices[a:b].transpose(0, 1), 16, d - c).repeat_interleave(2, 0)
        if causal:
            seen = seen & torch.ones(b - a, d - c).bool().tril()
        cuts = slice(a, b), slice(c, d), slice(c, d)
        parts = [t[s].transpose(0, 1) for t, s in zip(wide, cuts)]
        got, lse = nsa.masked_attention(*parts, seen, 0.3)
        rows.append(got.transpose(0, 1))
        sums.append(lse.transpose(0, 1))
    want, lse = torch.cat(rows), torch.cat(sums)
    close(out, want)
    assert greatest.shape == total.shape == (7, 4, 8)
    close(greatest.cpu()[..., 5] + total.cpu()[..., 5].log(), lse)
    if causal:
        continue
    grad = torch.randn_like(want).half()
    out.backward(grad.npu())
    want.backward(grad.double())
    for got, expected in zip(card, wide):
        close(got.grad, expected.grad, 0.05)
    with torch.no_grad():
        assert_meta_agrees(op, q, k, v, indices, 0.3, 4, 16, 2,
                           actual_seq_qlen=queries, actual_seq_kvlen=keys)
        for change, words in (((0.3, 3, 16, 2), "head_num"), ((0.3, 4, 16, 3), "topk_indices"),
                              ((0.3, 4, 0, 2), "select_block_size")):
            with pytest.raises(ValueError, match=f"npu_nsa_select_attention: expected.*{words}"):
                op(*card, indices.npu(), *change, actual_seq_qlen=queries, actual_seq_kvlen=keys)
# One token a sequence, keys in pages.
cache_k, cache_v = torch.randn(6, 32, 2, 16).half(), torch.randn(6, 32, 2, 8).half()
table = torch.tensor([[5, 0], [2, 4]]).int()
q, indices = torch.randn(2, 1, 4, 16).half(), pick(2, 2, 2, 3).view(2, 1, 2, 2)
for layout in ("BSND", "BSH", "TND"):
    shape = {"BSND": (2, 1, 4, 16), "BSH": (2, 1, 64), "TND": (2, 4, 16)}[layout]
    caches = [c if layout == "BSND" else c.flatten(2) for c in (cache_k, cache_v)]
    out = torch_npu_sim.npu_nsa_select_attention_infer(
        q.view(shape).npu(), *on_npu(caches),
        (indices.view(2, 2, 2) if layout == "TND" else indices).npu(), 0.3, 4, 2, 16, 2, 32,
        layout=layout, block_table=table.npu(), actual_seq_kvlen=[64, 41])
    for b, length in enumerate((64, 41)):
        k, v = (c[table[b].long()].flatten(0, 1)[:length].transpose(0, 1).double()
                for c in (cache_k, cache_v))
        seen = nsa.selected_mask(indices[b].transpose(0, 1), 16, length).repeat_interleave(2, 0)
        want, _ = nsa.masked_attention(q[b].transpose(0, 1).double(), k, v, seen, 0.3)
        close(out[b].reshape(4, 8), want[:, 0])
with torch_npu_sim.trace() as trace:
    op(*on_npu((torch.zeros(7, 4, 16).half(), torch.zeros(80, 2, 16).half(),
                torch.zeros(80, 2, 8).half())), pick(7, 2, 2, 3).npu(), 0.3, 4, 16, 2,
       actual_seq_qlen=[7], actual_seq_kvlen=[80])
assert [k.work for k in trace.kernels if k.op.startswith("npu::")] == [
    "attention b7 h4/2 1x32 d16/8 fp16"]
"""

COMPRESS_ATTENTION = """
window, stride, block, count = 32, 16, 64, 2
op = torch_npu_sim.npu_nsa_compress_attention
q, k, v = torch.randn(9, 4, 16).half(), torch.randn(40, 2, 16).half(), torch.randn(40, 2, 8).half()
queries, keys, blocks = [4, 9], [22, 40], [6, 11]
for masked in (False, True):
    hidden = torch.rand(5, 22) < 0.3 if masked else None
    forced = torch.rand(5, 6) < 0.2 if masked else None
    out, indices, greatest, total = op(
        *on_npu((q, k, v)), 0.3, 4, window, stride, block, count, topk_mask=on_npu(forced),
        atten_mask=on_npu(hidden), actual_seq_qlen=queries, actual_cmp_seq_kvlen=keys,
        actual_sel_seq_kvlen=blocks)
    for a, b, c, d, n in ((0, 4, 0, 22, 6), (4, 9, 22, 40, 5)):
        parts = [t[s].transpose(0, 1).double()
                 for t, s in zip((q, k, v), (slice(a, b), slice(c, d), slice(c, d)))]
        seen = torch.ones(4, b - a, d - c).bool()
        if masked:
            seen &= ~hidden[: b - a, : d - c]
        want, lse = nsa.masked_attention(*parts, seen, 0.3)
        close(out[a:b].transpose(0, 1), want)
        close((greatest + total.log())[a:b, :, 3].T, lse)
        scores = parts[0] @ parts[1].repeat_interleave(2, 0).mT * 0.3
        weights = (scores.masked_fill(~seen, -torch.inf) - lse[..., None]).exp()
        for h in range(2):
            found = nsa.importance(weights[2 * h : 2 * h + 2].sum(0), window, stride, block, n)
            if masked:
                found = found.masked_fill(forced[: b - a, :n], 23333.0)
            best = found.sort(dim=-1, descending=True, stable=True)[1][:, :count]
            assert torch.equal(indices[a:b, h].cpu().long(), best)
assert_meta_agrees(op, q, k, v, 0.3, 4, window, stride, block, count, actual_seq_qlen=queries,
                   actual_cmp_seq_kvlen=keys, actual_sel_seq_kvlen=blocks)
with pytest.raises(ValueError, match="npu_nsa_compress_attention: expected select_block_count"):
    op(*on_npu((q, k, v)), 0.3, 4, window, stride, block, 6, actual_seq_qlen=queries,
       actual_cmp_seq_kvlen=keys, actual_sel_seq_kvlen=blocks)
with pytest.raises(ValueError, match="npu_nsa_compress_attention: expected compress_stride"):
    op(*on_npu((q, k, v)), 0.3, 4, window, 0, block, 2, actual_seq_qlen=queries,
       actual_cmp_seq_kvlen=keys, actual_sel_seq_kvlen=blocks)
# One token a sequence, keys in pages; the first block and the last two are always chosen.
cache_k, cache_v = torch.randn(6, 16, 32).half(), torch.randn(6, 16, 16).half()
table, lengths = torch.tensor([[5, 0], [2, 4]]).int(), [30, 25]
q = torch.randn(2, 4, 16).half()
for layout in ("TND", "BSND"):
    out, indices = torch_npu_sim.npu_nsa_compress_attention_infer(
        (q if layout == "TND" else q.unsqueeze(1)).npu(), cache_k.npu(), cache_v.npu(), 0.3, 4, 2,
        block, 4, 16, window, stride, layout=layout, block_table=table.npu(),
        actual_cmp_seq_kvlen=lengths)
    for b, length in enumerate(lengths):
        k, v = (c[table[b].long()].flatten(0, 1)[:length].unflatten(-1, (2, -1)).transpose(0, 1)
                for c in (cache_k, cache_v))
        own = q[b].unsqueeze(1).double()
        seen = torch.ones(4, 1, length).bool()
        want, lse = nsa.masked_attention(own, k.double(), v.double(), seen, 0.3)
        close(out[b].reshape(4, 8), want[:, 0])
        n = -(-((length - 1) * stride + window) // block)
        weights = (own @ k.double().repeat_interleave(2, 0).mT * 0.3 - lse[..., None]).exp()
        for h in range(2):
            found = nsa.importance(weights[2 * h : 2 * h + 2].sum(0), window, stride, block, n)[0]
            order = found[1:-2].sort(dim=0, descending=True, stable=True)[1] + 1
            assert indices.view(2, 2, 4)[b, h].tolist() == [0, n - 2, n - 1, int(order[0])]
"""

BLOCKS = """
op = torch_npu_sim.npu_block_sparse_attention
shape = [8, 16]
for layout in ("BNSD", "TND"):
    for dtype in (torch.float16, torch.bfloat16):
        lengths = [(20, 40), (13, 35)]
        marks = (torch.rand(2, 4, 3, 3) < 0.6).to(torch.int8)
        marks[:, :, 0, 0] = 1
        marks[1, 2, 1] = 0  # queries that see nothing
        if layout == "TND":
            sizes, kwargs = [(33, 4, 16), (75, 2, 16)], {
                "actual_seq_lengths": [20, 13], "actual_seq_lengths_kv": [40, 35]}
        else:
            sizes, kwargs = [(2, 4, 20, 16), (2, 2, 40, 16)], {
                "actual_seq_lengths": [20, 13], "actual_seq_lengths_kv": [40, 35]}
        leaves = [leaf(*sizes[0], dtype=dtype), *(leaf(*sizes[1], dtype=dtype) for _ in range(2))]
        card = on_npu(leaves)
        out, lse = op(*card, marks.npu(), shape, q_input_layout=layout, kv_input_layout=layout,
                      num_key_value_heads=2, scale_value=0.3, inner_precise=0, **kwargs)
        wide = [t.detach().double().requires_grad_() for t in leaves]
        total, place = 0, [0, 0]
        grad = torch.randn_like(leaves[0])
        for b, (n, m) in enumerate(lengths):
            if layout == "TND":
                cuts = [slice(place[0], place[0] + n), slice(place[1], place[1] + m)]
                view = lambda t, c: t[c].transpose(0, 1)
                place = [place[0] + n, place[1] + m]
            else:
                cuts = [slice(0, n), slice(0, m)]
                view = lambda t, c, b=b: t[b][:, c]
            seen = nsa.block_mask(marks[b], shape, n, m)
            parts = [view(t, c) for t, c in zip(wide, (cuts[0], cuts[1], cuts[1]))]
            want, want_lse = nsa.masked_attention(*parts, seen, 0.3)
            close(view(out, cuts[0]), want)
            close(view(lse, cuts[0])[..., 0], want_lse)
            total = total + (want * view(grad, cuts[0]).double()).sum()
        total.backward()
        out.backward(grad.npu())
        for got, expected in zip(card, wide):
            close(got.grad, expected.grad, 0.08)
with torch.no_grad():
    args = (*leaves, marks, shape)
    names = {"q_input_layout": "TND", "kv_input_layout": "TND", "num_key_value_heads": 2,
             "inner_precise": 0, **kwargs}
    assert_meta_agrees(op, *args, **names)
    for change, words in (({"q_input_layout": "BSH"}, "q_input_layout"),
                          ({"kv_input_layout": "BNSD"}, "kv_input_layout"),
                          ({"num_key_value_heads": 4}, "num_key_value_heads"),
                          ({"inner_precise": 1}, "inner_precise"),
                          ({"actual_seq_lengths": [33]}, "actual_seq_lengths_kv"),
                          ({"actual_seq_lengths": [20, 60]}, "actual_seq_lengths")):
        with pytest.raises(ValueError, match=f"npu_block_sparse_attention: expected.*{words}"):
            op(*on_npu(args), **(names | change))
    with pytest.raises(ValueError, match="expected block_sparse_mask of"):
        op(*on_npu((*leaves, marks[:, :, :2], shape)), **names)
    with pytest.raises(ValueError, match="expected block_shape of"):
        op(*on_npu((*leaves, marks, [0, 16])), **names)
"""


@pytest.mark.parametrize(
    "program",
    [COMPRESS, SELECT, COMPRESS_ATTENTION, BLOCKS],
    ids=["compress", "select", "compress_attention", "blocks"],
)
def test_older_cards_compute(program: str, run_python: RunPython) -> None:
    run = run_python(HEAD + program + "\nprint('done')", NPU_SIM_CHIP="ascend910b2")
    assert run.stdout.strip() == "done", run.stderr[-2000:]
