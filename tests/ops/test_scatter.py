"""Values put at computed places: scatter_update and npu_scatter_nd_update."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

OPS = torch.ops.npu
DTYPES = [torch.float32, torch.bfloat16, torch.int8, torch.int64, torch.bool]


def scatter_nd(x: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
    """Puts updates[i] at x[indices[i]], one after another."""
    result = x.clone()
    depth = indices.shape[-1]
    count = math.prod(indices.shape[:-1])
    places = indices.reshape(count, depth).tolist()
    for place, value in zip(places, updates.reshape(count, *x.shape[depth:]), strict=True):
        result[tuple(place)] = value
    return result


def update(
    x: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor, axis: int
) -> torch.Tensor:
    """Puts updates[i] into x[i] (or x[indices[i, 0]]) from its index along `axis` on."""
    result = x.clone()
    for i, value in enumerate(updates):
        pair = indices.reshape(-1, 1).tolist() if indices.dim() < 2 else indices.tolist()
        item, start = (i, pair[i][0]) if indices.dim() < 2 else pair[i]
        along = axis % x.dim() - 1
        result[item].narrow(along, start, value.shape[along]).copy_(value)
    return result


def rolled(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return (torch.randn(shape) * 4).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_rows_go_where_their_indices_say(depth: int, dtype: torch.dtype) -> None:
    x = rolled(dtype, 4, 3, 2)
    order = torch.randperm(4)[:3]
    indices = torch.stack([order, order % 3, order % 2], 1)[:, :depth]
    updates = rolled(dtype, 3, *x.shape[depth:])
    want = scatter_nd(x, indices, updates)
    assert_equal(torch_npu_sim.npu_scatter_nd_update(*on_npu((x, indices, updates))), want)
    card = x.npu()
    result = torch_npu_sim.npu_scatter_nd_update_(card, *on_npu((indices.int(), updates)))
    assert result is card
    assert_equal(card, want)
    assert_meta_agrees(OPS.npu_scatter_nd_update, x, indices, updates)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.int32])
@pytest.mark.parametrize(("axis", "length"), [(-2, 1), (2, 3), (-1, 2), (1, 1)])
def test_items_are_updated_from_their_index_on(axis: int, length: int, dtype: torch.dtype) -> None:
    x = rolled(dtype, 3, 2, 5, 4)
    sizes = [2, 2, 5, 4]
    sizes[axis] = length
    updates, indices = rolled(dtype, *sizes), torch.tensor([0, 1])
    want = update(x, indices, updates, axis)
    assert_equal(torch_npu_sim.scatter_update(*on_npu((x, indices, updates)), axis), want)
    card = x.npu()
    assert torch_npu_sim.scatter_update_(card, *on_npu((indices.int(), updates)), axis) is card
    assert_equal(card, want)
    assert_meta_agrees(OPS.scatter_update, x, indices, updates, axis)


def test_pairs_name_the_item_and_a_number_alone_means_the_first() -> None:
    x, updates = torch.zeros(3, 4, 2), torch.randn(2, 1, 2)
    pairs = torch.tensor([[2, 3], [0, 1]])
    found = torch_npu_sim.scatter_update(*on_npu((x, pairs, updates)), 1)
    assert_equal(found, update(x, pairs, updates, 1))
    one = torch.tensor(2)
    found = torch_npu_sim.scatter_update(*on_npu((x, one, updates[:1])), 1)
    assert_equal(found, update(x, one, updates[:1], 1))


def test_views_and_narrow_floats_are_written_in_place() -> None:
    base = torch.zeros(4, 6, device="npu")
    torch_npu_sim.npu_scatter_nd_update_(
        base[:, ::2], *on_npu((torch.tensor([[1]]), torch.ones(1, 3)))
    )
    assert base[1].tolist() == [1, 0, 1, 0, 1, 0]
    codes = torch.zeros(2, 3, 4).to(torch.float8_e4m3fn)
    ones = torch.ones(2, 1, 4).to(torch.float8_e4m3fn)
    found = torch_npu_sim.scatter_update(*on_npu((codes, torch.tensor([2, 0]), ones)), -2)
    assert found.cpu().float().sum(-1).tolist() == [[0, 0, 4], [4, 0, 0]]


X, PLACES = torch.zeros(3, 4), torch.tensor([[1], [0]])


@pytest.mark.parametrize(
    ("name", "args", "error", "words"),
    [
        ("npu_scatter_nd_update", (X, PLACES[0], X[:2]), ValueError, "indices of two axes"),
        ("npu_scatter_nd_update", (X, PLACES, X), ValueError, r"updates of \[2, 4\]"),
        ("npu_scatter_nd_update", (X, PLACES, X[:2].half()), TypeError, "updates of Float"),
        ("npu_scatter_nd_update", (X, PLACES - 1, X[:2]), IndexError, "indices from 0 to 2"),
        ("npu_scatter_nd_update_", (X, PLACES + 2, X[:2]), IndexError, "got 3"),
        ("npu_scatter_nd_update", (X, torch.zeros(2, 3).int(), X[0, :2]), ValueError, "1 to 2"),
        ("npu_scatter_nd_update", (X, X[:2, :1], X[:2]), TypeError, "indices of int32 or int64"),
        ("scatter_update", (X, PLACES[:, 0], X[:2, :1], 0), IndexError, "other than 0"),
        ("scatter_update", (X, PLACES[:, 0], X[:2, :1], 2), IndexError, "expected axis"),
        ("scatter_update", (X, PLACES[:, 0], X[:, :1], 1), ValueError, "expected updates of"),
        ("scatter_update", (X, PLACES, X[:2, :1], 1), ValueError, r"no axis, \[n\] or \[n, 2\]"),
        ("scatter_update", (X, PLACES[:, 0] + 3, X[:2, :2], 1), IndexError, "from 0 to 2"),
        ("scatter_update_", (X, PLACES[:, 0].float(), X[:2, :2], 1), TypeError, "of int32"),
    ],
)
def test_scattering_refuses_what_does_not_fit(
    name: str, args: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"^{name}: .*{words}"):
        getattr(OPS, name)(*on_npu(args))


def test_a_functional_scatter_copies_first() -> None:
    x, places, rows = on_npu((torch.zeros(64, 32), torch.tensor([[3], [5]]), torch.ones(2, 32)))
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_scatter_nd_update(x, places, rows)
        torch_npu_sim.npu_scatter_nd_update_(x, places, rows)
    assert [kernel.bytes_written for kernel in trace.kernels] == [64 * 32 * 4, 256, 256]


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    depth=st.integers(0, 4),
    count=st.integers(0, 3),
    low=st.integers(-1, 1),
)
def test_any_scatter_is_right_or_refused(
    sizes: list[int], depth: int, count: int, low: int
) -> None:
    x = torch.randn(sizes)
    indices = torch.randint(low, max(sizes[0], low + 1), (count, depth))
    if depth > 0 and count > 0:
        indices[:, 0] = torch.arange(count) + low
    updates = torch.randn(count, *sizes[depth:])
    try:
        found = torch_npu_sim.npu_scatter_nd_update(*on_npu((x, indices, updates)))
    except (ValueError, IndexError) as error:
        assert "npu_scatter_nd_update: expected" in str(error)  # noqa: PT017
        return
    assert_equal(found, scatter_nd(x, indices, updates))
