"""Generated calls, right and wrong: the value of the formula, or an error naming the operator."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torch_npu_sim.testing.comparison import assert_equal, on_npu
from torch_npu_sim.testing.reference import loss, recurrence

OPS = torch.ops.npu
ERRORS = (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError)
FUZZ = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FLOATS = st.sampled_from([torch.float32, torch.float16, torch.bfloat16] * 3 + [torch.int32])
SIZE = st.sampled_from([1, 2, 3, 4, 5, 0])
RARELY = st.sampled_from([False] * 7 + [True])


def attempt(name: str, *args: Any, **kwargs: Any) -> Any:
    """The results, or None after an error that names the operator."""
    try:
        return getattr(OPS, name)(*on_npu(args), **on_npu(kwargs))
    except ERRORS as error:
        assert name in str(error), error
        return None


def tensor(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(shape).to(dtype)


@FUZZ
@given(
    SIZE, SIZE, SIZE, FLOATS, st.sampled_from(["mean", "sum", "none"] * 3 + ["max"]),
    st.integers(-2, 3), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), RARELY,
)  # fmt: skip
def test_any_cross_entropy(
    rows: int,
    classes: int,
    targets: int,
    dtype: torch.dtype,
    reduction: str,
    ignore: int,
    smoothing: float,
    wrong: bool,
) -> None:
    x = tensor((rows, classes), dtype)
    target = torch.randint(classes + wrong + (classes == 0), (targets if wrong else rows,))
    got = attempt("npu_cross_entropy_loss", x, target, None, reduction, ignore, smoothing)
    if got is None:
        return
    want = loss.cross_entropy_loss(x, target, None, reduction, ignore, smoothing)
    if want[0].isfinite().all():  # nothing kept: 0 / 0
        assert_equal(got[0], want[0].to(dtype))
    assert_equal(got[1], want[1].to(dtype))


@FUZZ
@given(SIZE, SIZE, SIZE, st.sampled_from([3, 3, 3, 2]), FLOATS, st.booleans(), RARELY)
def test_any_masked_convolution(
    length: int, batch: int, width: int, taps: int, dtype: torch.dtype, masked: bool, swap: bool
) -> None:
    x, weight = tensor((length, batch, width), dtype), tensor((taps, width), dtype)
    mask = torch.rand((length, batch) if swap else (batch, length)) > 0.5 if masked else None
    got = attempt("npu_masked_causal_conv1d", x, weight, mask=mask)
    if got is not None:
        want = recurrence.masked_causal_conv1d(x.double(), weight.double(), mask)
        assert_equal(got, want.to(dtype))


@FUZZ
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=3), SIZE, SIZE,
    st.sampled_from([torch.bfloat16, torch.float32]), SIZE, RARELY,
)  # fmt: skip
def test_any_chunked_delta_rule(
    lengths: list[int], nk: int, shared: int, dtype: torch.dtype, dk: int, wrong: bool
) -> None:
    tokens, nv = sum(lengths) + wrong, nk * shared
    q, k = (tensor((tokens, nk, dk), torch.bfloat16) for _ in range(2))
    v, beta = tensor((tokens, nv, 3), torch.bfloat16), torch.rand(tokens, nv)
    state, g = tensor((len(lengths), nv, 3, dk), dtype), -torch.rand(tokens, nv)
    counts = torch.tensor(lengths, dtype=torch.int32)
    extra = {"beta": beta, "initial_state": state, "actual_seq_lengths": counts, "g": g}
    got = attempt("npu_chunk_gated_delta_rule", q, k, v, **extra, scale=0.5)
    if got is None:
        return
    begin = 0
    for i, length in enumerate(lengths):
        own = slice(begin, begin + length)
        if length > 0:
            want, states = recurrence.gated_delta_rule(
                q[own], k[own], v[own], state[i], 0.5, beta=beta[own], g=g[own]
            )
            torch.testing.assert_close(got[0][own].cpu().double(), want, rtol=2e-2, atol=2e-2)
            assert_equal(got[1][i], states[-1].to(dtype))
        begin += length


@FUZZ
@given(
    st.integers(0, 3), st.integers(0, 3), st.lists(st.integers(-4, 4), min_size=2, max_size=2),
    st.lists(st.integers(-4, 4), min_size=2, max_size=2),
    st.lists(st.sampled_from([1, 1, 2, -1, -2, 0]), min_size=2, max_size=2),
    st.integers(0, 3), st.integers(0, 3),
)  # fmt: skip
def test_any_strided_slice(
    rows: int, columns: int, begin: list[int], end: list[int], strides: list[int], bm: int, em: int
) -> None:
    x = torch.arange(rows * columns).reshape(rows, columns)
    got = attempt("npu_indexing", x, begin, end, strides, bm, em)
    if got is None:
        return
    array = x.numpy()
    picks = [
        slice(None if bm >> i & 1 else begin[i], None if em >> i & 1 else end[i], strides[i])
        for i in range(2)
    ]
    assert_equal(got, torch.from_numpy(array[tuple(picks)].copy()))


@FUZZ
@given(SIZE, SIZE, st.lists(st.integers(-1, 5), max_size=4), FLOATS, st.floats(-0.5, 1.5))
def test_any_gather_and_dropout(
    rows: int, width: int, index: list[int], dtype: torch.dtype, p: float
) -> None:
    x, places = tensor((rows, width), dtype), torch.tensor(index, dtype=torch.int64)
    got = attempt("npu_gather_sparse_index", x, places)
    if got is not None:
        assert_equal(got, x[places])
    dropped = attempt("_npu_dropout", x, p)
    if dropped is not None:
        kept = dropped[0].cpu() != 0
        scaled = x.double() / (1 - p) if p < 1 else torch.zeros_like(x)
        assert_equal(dropped[0], torch.where(kept, scaled.to(dtype), 0).to(dtype))


@pytest.mark.parametrize("name", ["npu_cross_entropy_loss", "npu_masked_causal_conv1d"])
def test_a_wrong_call_of_the_fuzz_is_seen(name: str) -> None:
    assert attempt(name, torch.ones(2), torch.ones(2)) is None
