"""Random calls of training attention: right values, or an error naming the operator."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.reference import fusion_attention as reference

fixed = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
ROUNDING = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}
TRIANGLES = {n: torch.triu(torch.ones(n, 2048, dtype=torch.bool), 1) for n in (2048, 3072)}
lengths = st.tuples(st.integers(0, 20), st.integers(0, 20))


@fixed
@given(
    st.lists(lengths, min_size=1, max_size=3),
    st.sampled_from(((1, 1), (4, 2), (3, 1))),
    st.sampled_from(((8, 8), (16, 4), (3, 2))),
    st.sampled_from((0, 2, 3, 4, 7, 8)),
    st.integers(-3, 6),
    st.integers(-3, 6),
    st.sampled_from(tuple(ROUNDING)),
    st.booleans(),
)
def test_packed_sequences_of_any_lengths(  # noqa: PLR0913
    pairs: list[tuple[int, int]],
    heads: tuple[int, int],
    widths: tuple[int, int],
    mode: int,
    pre: int,
    following: int,
    dtype: torch.dtype,
    sunk: bool,
) -> None:
    tokens = [sum(x) for x in zip(*pairs, strict=True)]
    if 0 in tokens:
        return
    shapes = [(tokens[i > 0], heads[i > 0], widths[i > 1]) for i in range(3)]
    parts = [torch.randn(s).to(dtype) for s in shapes]
    sink = torch.randn(heads[0]) if sunk else None
    sums = torch.tensor(pairs).cumsum(0).T.tolist()
    longest = [max(x) for x in zip(*pairs, strict=True)]
    ours = [x.npu().requires_grad_() for x in parts]
    out, *_ = torch_npu_sim.npu_fusion_attention(
        *ours,
        heads[0],
        "TND",
        scale=0.4,
        sink=on_npu(sink),
        atten_mask=(TRIANGLES[2048] if mode else torch.zeros(longest, dtype=torch.bool)).npu(),
        sparse_mode=mode,
        pre_tockens=pre,
        next_tockens=following,
        actual_seq_qlen=sums[0],
        actual_seq_kvlen=sums[1],
    )
    wide = [x.double().requires_grad_() for x in parts]
    busy = [s for s, (q, _) in enumerate(pairs) if q > 0]
    results, q, k = [], 0, 0
    for s, (queries, keys) in enumerate(pairs):
        bands = {7: busy[-1:], 8: busy[:1]}.get(mode, [s])
        own = mode if s in bands else {7: 3, 8: 2}[mode]
        seen = reference.visible(own, queries, keys, pre, following)
        views = [wide[0][q : q + queries], *[x[k : k + keys] for x in wide[1:]]]
        want = reference.attend(
            *[v.transpose(0, 1) for v in views],
            seen,
            0.4,
            sink=None if sink is None else sink.double(),
        )
        results.append(want.out.transpose(0, 1))
        q, k = q + queries, k + keys
    joined = torch.cat(results)
    tolerance = {"rtol": ROUNDING[dtype], "atol": ROUNDING[dtype]}
    torch.testing.assert_close(out.detach().cpu().double(), joined.detach(), **tolerance)
    out.sum().backward()
    joined.sum().backward()
    for x, y in zip(ours, wide, strict=True):
        assert x.grad is not None and y.grad is not None
        torch.testing.assert_close(x.grad.cpu().double(), y.grad, rtol=0.1, atol=0.3)


WRONG: list[Any] = [
    torch.zeros(0),
    torch.zeros(2, 3).int(),
    torch.ones(2, 2, 2, 2).half(),
    torch.ones(4, 5).bool(),
    torch.full((4,), 1 << 40),
    torch.tensor(True),
    None,
    -1,
    0,
    5,
    1 << 40,
    -(1 << 63),
    0.5,
    "TND",
    "",
    [],
    [3, -1],
    [1 << 62, 1 << 62],
]
ERRORS = (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError)
NAMES = (
    "query",
    "key",
    "value",
    "head_num",
    "input_layout",
    "pse",
    "padding_mask",
    "atten_mask",
    "scale",
    "keep_prob",
    "pre_tockens",
    "next_tockens",
    "prefix",
    "actual_seq_qlen",
    "actual_seq_kvlen",
    "sparse_mode",
    "softmax_layout",
    "sink",
    "dropout_mask",
    "seed",
    "offset",
)


@fixed
@given(
    st.sampled_from(("BSH", "SBH", "BSND", "BNSD", "TND")),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(range(len(WRONG))), max_size=3),
    st.booleans(),
)
def test_wrong_arguments_end_in_an_error(layout: str, wrong: dict[str, int], grad: bool) -> None:
    batch = 1 if layout == "TND" else 2
    x = reference.from_heads(torch.randn(batch, 2, 4, 8), layout)
    arguments: dict[str, Any] = {
        "query": x,
        "key": x,
        "value": x,
        "head_num": 2,
        "input_layout": layout,
    }
    if layout == "TND":
        arguments |= {"actual_seq_qlen": [1, 4], "actual_seq_kvlen": [3, 4]}
    arguments |= {name: WRONG[i] for name, i in wrong.items()}
    given_arguments = on_npu(arguments)
    try:
        if isinstance(given_arguments["query"], torch.Tensor) and grad:
            given_arguments["query"].requires_grad_()
        out, *_ = torch_npu_sim.npu_fusion_attention(**given_arguments)
        if grad:
            out.sum().backward()
    except ERRORS as error:
        assert wrong and str(error)
        return
    assert out.isfinite().all()


def test_a_call_without_wrong_arguments_succeeds() -> None:
    x = torch.randn(2, 2, 4, 8).npu()
    assert torch_npu_sim.npu_fusion_attention(x, x, x, 2, "BNSD")[0].isfinite().all()
    with pytest.raises(ValueError, match="npu_fusion_attention: expected"):
        torch_npu_sim.npu_fusion_attention(x, x, x, 3, "BNSD")
