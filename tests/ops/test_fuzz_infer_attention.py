"""Random calls of inference attention: right values, or an error naming the operator."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.reference import infer_attention as reference

fixed = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TRIANGLE = torch.ones(2048, 2048).bool().triu(1)
OP = torch_npu_sim.npu_fused_infer_attention_score
# (query heads, key heads), width of queries, width of values
sizes = st.tuples(
    st.sampled_from([(1, 1), (4, 2), (3, 1)]), st.sampled_from([1, 8, 16]), st.sampled_from([3, 16])
)
lengths = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 20)), min_size=1, max_size=3)


def masked(mode: int) -> dict[str, Any]:
    kwargs = {"sparse_mode": mode, "pre_tokens": 3, "next_tokens": 1}
    return kwargs | ({"atten_mask": TRIANGLE} if mode else {})


def wanted(
    parts: list[tuple[torch.Tensor, ...]], mode: int, *, is_one: bool
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Attends to what `mode` lets be seen; one query a sequence sees all."""
    results = []
    for query, key, value in parts:
        seen = reference.visible(mode, query.shape[1], key.shape[1], 3, 1)
        plain = mode == 0 or is_one
        results.append(reference.attend(query, key, value, 0.5, seen=None if plain else seen))
    return results


@fixed
@given(
    lengths,
    sizes,
    st.sampled_from([0, 2, 3, 4]),
    st.sampled_from(["TND", "NTD", "BNSD", "BSH", "BSND_NBSD"]),
    st.sampled_from([None, "BBH", "BNBD"]),
    st.integers(0, 1 << 30),
)
def test_any_lengths_layout_and_mask(  # noqa: PLR0913
    lengths: list[tuple[int, int]], sizes: Any, mode: int, layout: str, form: str | None, seed: int
) -> None:
    (heads, kv_heads), width, value_width = sizes
    torch.manual_seed(seed)
    parts = [
        (
            torch.randn(heads, q, width).half(),
            torch.randn(kv_heads, k, width).half(),
            torch.randn(kv_heads, k, value_width).half(),
        )
        for q, k in lengths
    ]
    flat = "T" in layout
    first, _, last = layout.partition("_")
    longest = [max(x.shape[1] for x in column) for column in zip(*parts, strict=True)]
    dense = [
        torch.cat([p[i] for p in parts], 1)[None]
        if flat
        else torch.stack(
            [torch.nn.functional.pad(p[i], (0, 0, 0, longest[i] - p[i].shape[1])) for p in parts]
        )
        for i in range(3)
    ]
    tensors = [reference.laid_out(x, first) for x in dense]
    counts = torch.tensor(lengths)
    sums = counts.cumsum(0) if flat else counts
    kwargs: dict[str, Any] = {
        "actual_seq_lengths": sums[:, 0].tolist(),
        "actual_seq_lengths_kv": (counts if form else sums)[:, 1].tolist(),
    } | masked(mode)
    if form is not None:
        table = torch.randperm(3 * len(parts)).view(-1, 3).int()
        tensors[1:] = [
            reference.paged([p[i] for p in parts], table, 8, 3 * len(parts), form) for i in (1, 2)
        ]
        kwargs["block_table"] = table
    out, lse = OP(
        *on_npu(tensors),
        num_heads=heads,
        num_key_value_heads=kv_heads,
        scale=0.5,
        input_layout=layout,
        softmax_lse_flag=True,
        **on_npu(kwargs),
    )
    one = not flat and dense[0].shape[2] == 1
    if one:  # lengths of one query have no effect
        parts = [(dense[0][b], *p[1:]) for b, p in enumerate(parts)]
    results = wanted(parts, mode, is_one=one)
    want = torch.zeros(*dense[0].shape[:3], value_width, dtype=torch.float64)
    want_lse = torch.full(want.shape[:3], torch.inf, dtype=torch.float64)
    place = 0
    for b, (rows, sums_of_rows) in enumerate(results):
        batch, first_row = (0, place) if flat else (b, 0)
        want[batch, :, first_row : first_row + rows.shape[1]] = rows
        want_lse[batch, :, first_row : first_row + rows.shape[1]] = sums_of_rows
        place += rows.shape[1]
    got = out.cpu().double()
    torch.testing.assert_close(got, reference.laid_out(want, last or first), rtol=2e-2, atol=2e-2)
    want_lse = want_lse[0].T if flat else want_lse
    torch.testing.assert_close(lse.cpu().double()[..., 0], want_lse, rtol=1e-3, atol=1e-3)


WRONG: list[Any] = [
    None,
    torch.zeros(0),
    torch.zeros(2, 3).int(),
    torch.full((2, 2), 1 << 30).int(),
    torch.full((1,), -7).long(),
    torch.ones(2, 2, 2, 2).half(),
    torch.ones(2, 2, 2, 2, 2).to(torch.float8_e4m3fn),
    torch.ones(2, 4, 3, 16).to(torch.int8),
    torch.tensor(True),
]
LISTS: list[Any] = [None, [], [0], [1, 2], [-1, 3], [1 << 40], [3, 2], [7, 7, 7]]
NUMBERS = [-1, 0, 1, 2, 3, 7, 1 << 40, -(1 << 62)]
TENSORS = [
    *("query", "key", "value", "pse_shift", "atten_mask", "dequant_scale1", "quant_scale1"),
    *("dequant_scale2", "quant_scale2", "quant_offset2", "antiquant_scale", "antiquant_offset"),
    *("key_antiquant_scale", "key_antiquant_offset", "value_antiquant_scale", "block_table"),
    *("value_antiquant_offset", "query_padding_size", "kv_padding_size", "key_shared_prefix"),
    *("value_shared_prefix", "query_rope", "key_rope"),
]
replaced = st.one_of(
    st.tuples(st.sampled_from(TENSORS), st.sampled_from(range(len(WRONG)))),
    st.tuples(
        st.sampled_from(
            ["actual_seq_lengths", "actual_seq_lengths_kv", "actual_shared_prefix_len"]
        ),
        st.sampled_from(range(len(LISTS))),
    ),
    st.tuples(
        st.sampled_from(
            ["num_heads", "num_key_value_heads", "sparse_mode", "pre_tokens", "next_tokens"]
            + ["antiquant_mode", "key_antiquant_mode", "value_antiquant_mode", "block_size"]
        ),
        st.sampled_from(range(len(NUMBERS))),
    ),
    st.tuples(st.just("input_layout"), st.integers(0, 4)),
)
TEXTS = ["BSH", "TND", "", "NSD", "BNSD_NBSD"]


@fixed
@given(st.lists(replaced, min_size=1, max_size=3), st.booleans())
def test_wrong_arguments_raise_or_compute(replaced: list[Any], paged: bool) -> None:
    kwargs: dict[str, Any] = {
        "query": torch.randn(2, 4, 3, 16).half(),
        "key": torch.randn(2, 2, 8, 16).half(),
        "value": torch.randn(2, 2, 8, 16).half(),
        "num_heads": 4,
        "num_key_value_heads": 2,
        "input_layout": "BNSD",
    }
    if paged:
        kwargs |= {"block_table": torch.zeros(2, 1).int(), "actual_seq_lengths_kv": [8, 3]}
    for name, index in replaced:
        if name in TENSORS:
            kwargs[name] = WRONG[index] if WRONG[index] is not None else kwargs.get(name)
        elif name == "input_layout":
            kwargs[name] = TEXTS[index]
        else:
            kwargs[name] = (LISTS if name.startswith("actual") else NUMBERS)[index]
    try:
        out, lse = OP(**on_npu(kwargs))
    except (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError) as error:
        assert "npu" in str(error)
    else:
        assert out.cpu().shape[-1] > 0 or out.numel() == 0
        assert lse.shape == (0,)


@pytest.mark.parametrize("mode", [0, 2, 3, 4])
def test_one_token_of_each(mode: int) -> None:
    part = torch.randn(1, 1, 1, 8).half()
    out, _ = OP(*on_npu([part] * 3), input_layout="BNSD", **on_npu(masked(mode)))
    torch.testing.assert_close(out.cpu(), part)
