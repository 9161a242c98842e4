"""Permutation by a map of tokens and experts, and which copy of an expert serves a token."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import moe

PERMUTE = torch.ops.npu.npu_moe_token_permute_with_routing_map
UNPERMUTE = torch.ops.npu.npu_moe_token_unpermute_with_routing_map
UPDATE = torch.ops.npu.npu_moe_update_expert
FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def routing_map(tokens: int, experts: int, k: int) -> torch.Tensor:
    """Returns a map of [tokens, experts] with `k` experts for each token."""
    if tokens == 0:
        return torch.zeros(0, experts, dtype=torch.bool)
    order = torch.rand(tokens, experts).argsort(1)
    return order < k


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("tokens", [0, 1, 6])
def test_tokens_go_to_the_experts_of_the_map_and_back(tokens: int, dtype: torch.dtype) -> None:
    x, chosen = torch.randn(tokens, 4, dtype=dtype), routing_map(tokens, 5, 2)
    probs = torch.rand(tokens, 5, dtype=dtype)
    rows = moe.permute_with_routing_map(x, chosen)
    y, weights, places = PERMUTE(*on_npu((x, chosen)), probs=probs.npu(), num_out_tokens=2 * tokens)
    source = torch.tensor([token for token, _ in rows], dtype=torch.long)
    assert_equal(y, x[source])
    assert_equal(weights, torch.tensor([probs[row] for row in rows], dtype=dtype))
    assert places.dtype == torch.int32
    assert torch.equal(places.cpu().long(), source.argsort(stable=True))
    back = UNPERMUTE(y, places, [tokens, 4], probs=probs.npu(), routing_map=chosen.npu())
    want = moe.unpermute_with_routing_map(x[source], rows, tokens, probs)
    assert_equal(back, want.to(dtype))
    assert_meta_agrees(PERMUTE, x, chosen, probs=probs, num_out_tokens=2 * tokens)


@pytest.mark.parametrize("map_dtype", [torch.bool, torch.int8])
def test_a_capacity_fills_up_with_tokens_that_nobody_routed(map_dtype: torch.dtype) -> None:
    x, probs = torch.randn(4, 3), torch.rand(4, 2)
    chosen = torch.tensor([[1, 0], [0, 1], [1, 1], [1, 0]])
    y, weights, places = PERMUTE(
        *on_npu((x, chosen.to(map_dtype))), probs=probs.npu(), num_out_tokens=7, drop_and_pad=True
    )
    rows = moe.permute_with_routing_map(x, chosen, 3)
    assert places.tolist() == [0, 2, 3, 1, 2, 0]
    assert places.tolist() == [token for token, _ in rows]
    assert_equal(y, x[places.cpu().long()])
    assert_equal(weights, torch.stack([probs[row] for row in rows]))
    back = UNPERMUTE(y, places, [4, 3], probs=probs.npu(), drop_and_pad=True)
    want = moe.unpermute_with_routing_map(y.cpu(), rows, 4, probs)
    assert_equal(back, want.float())


def test_without_probs_there_are_no_weights() -> None:
    x, chosen = torch.randn(3, 2), torch.eye(3).bool()
    y, weights, places = PERMUTE(*on_npu((x, chosen)))
    assert weights is None
    assert_equal(y, x)
    assert_equal(UNPERMUTE(y, places, [3, 2]), x)


@pytest.mark.parametrize("pads", [False, True])
@pytest.mark.parametrize("with_probs", [False, True])
def test_the_gradients_pass_gradcheck(with_probs: bool, pads: bool) -> None:
    chosen = routing_map(4, 3, 2).npu()
    x = torch.randn(4, 2, dtype=torch.float64, device="npu", requires_grad=True)
    probs = torch.rand(4, 3, dtype=torch.float64, device="npu", requires_grad=True)

    def there_and_back(x: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        given_probs = probs if with_probs else None
        y, weights, places = PERMUTE(
            x, chosen, probs=given_probs, num_out_tokens=8 if not pads else 6, drop_and_pad=pads
        )
        if with_probs:
            y = y * weights.unsqueeze(1)
        return torch.as_tensor(
            UNPERMUTE(
                y**2, places, [4, 2], probs=given_probs, routing_map=chosen, drop_and_pad=pads
            )
        )

    inputs = (x, probs) if with_probs else (x, probs.detach())
    assert torch.autograd.gradcheck(there_and_back, inputs)


def test_the_form_for_autograd_also_says_where_rows_lie() -> None:
    rows, places = torch.randn(4, 2), torch.tensor([1, 0, 1, 2]).int()
    y, order, tokens, weights = torch_npu_sim._npu_moe_token_unpermute_with_routing_map(
        *on_npu((rows, places)), [3, 2], drop_and_pad=True
    )
    assert order.tolist() == [1, 0, 2, 3]
    assert tokens.tolist() == [0, 1, 1, 2]
    assert weights is None
    assert_equal(y, torch.stack([rows[1], rows[0] + rows[2], rows[3]]))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"tokens": torch.ones(3)}, ValueError, "expected tokens of"),
        ({"routing_map": torch.ones(2, 2).bool()}, ValueError, r"routing_map of \[3, experts\]"),
        ({"routing_map": torch.ones(3, 2)}, TypeError, "routing_map of bool or int8"),
        ({"probs": torch.ones(3, 3)}, ValueError, r"expected probs of \[3, 2\]"),
        ({"num_out_tokens": -1}, ValueError, "expected num_out_tokens of 0 or more"),
        ({"num_out_tokens": 3}, ValueError, "expected 1 experts for each token"),
        ({"num_out_tokens": 8, "drop_and_pad": True}, ValueError, "a capacity of 0 to the 3"),
    ],
)
def test_permutation_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "tokens": torch.ones(3, 2),
        "routing_map": torch.ones(3, 2).bool(),
        "num_out_tokens": 6,
    }
    call = on_npu(call | change)
    with pytest.raises(error, match="npu_moe_token_permute_with_routing_map: .*" + text):
        PERMUTE(call.pop("tokens"), call.pop("routing_map"), **call)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"restore_shape": [3]}, ValueError, "expected restore_shape of"),
        ({"restore_shape": [4, 2]}, ValueError, "sorted_indices of 4 times k, got 6"),
        ({"sorted_indices": torch.arange(6).int() + 1}, IndexError, "sorted_indices from 0 to 5"),
        ({"permuted_tokens": torch.ones(5, 2)}, ValueError, r"permuted_tokens of \[6, 2\]"),
        ({"probs": torch.ones(3, 2)}, ValueError, "expected routing_map with probs"),
    ],
)
def test_the_inverse_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "permuted_tokens": torch.ones(6, 2),
        "sorted_indices": torch.arange(6).int(),
        "restore_shape": [3, 2],
    }
    with pytest.raises(error, match="npu_moe_token_unpermute_with_routing_map: .*" + text):
        UNPERMUTE(**on_npu(call | change))


def test_padded_permutation_is_refused_as_on_the_card() -> None:
    x, indices = torch.ones(2, 2).npu(), torch.tensor([[0], [1]]).npu()
    with pytest.raises(ValueError, match="npu_moe_token_permute: expected padded_mode of False"):
        torch_npu_sim.npu_moe_token_permute(x, indices, padded_mode=True)


def test_permutation_by_a_map_is_a_sort_and_a_gather() -> None:
    x, chosen = torch.randn(8, 64).npu(), routing_map(8, 4, 2).npu()
    with torch_npu_sim.trace() as trace:
        PERMUTE(x, chosen, num_out_tokens=16)
    assert [kernel.name for kernel in trace.kernels] == ["sort", "gather"]
    assert trace.kernels[1].bytes_written == 16 * 64 * 4 + 16 * 4


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_cards_or_tokens_take_turns_with_the_copies_of_an_expert(
    dtype: torch.dtype, mode: int
) -> None:
    table = torch.tensor([[1, 7, 0, 0], [3, 5, 2, 4], [2, 6, 1, 0]]).int()
    ids = torch.randint(0, 3, (6, 2), dtype=dtype)
    for rank in range(4):
        y, mask = UPDATE(*on_npu((ids, table)), local_rank_id=rank, world_size=4, balance_mode=mode)
        assert_equal(y, moe.update_expert(ids, table, rank, 4, mode))
        assert mask.all()
    assert_meta_agrees(UPDATE, ids, table, local_rank_id=0, world_size=4)


def test_small_weights_and_inactive_tokens_are_pruned() -> None:
    ids, table = torch.zeros(3, 2).int(), torch.tensor([[1, 0]]).int()
    scales = torch.tensor([[0.5, 0.1], [0.5, 0.4], [0.5, 0.4]])
    _, mask = UPDATE(
        *on_npu((ids, table)),
        expert_scales=scales.npu(),
        pruning_threshold=torch.tensor([0.1, 0.3]).npu(),
        active_mask=torch.tensor([True, True, False]).npu(),
        local_rank_id=0,
        world_size=2,
    )
    assert mask.tolist() == [[True, False], [True, True], [False, False]]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"balance_mode": 2}, ValueError, "expected balance_mode of 0"),
        ({"local_rank_id": 4}, ValueError, "expected local_rank_id from 0"),
        ({"expert_ids": torch.tensor([[2]]).int()}, IndexError, "expert_ids from 0 to 1, got 2"),
        ({"eplb_table": torch.zeros(2, 2).int()}, IndexError, "count of eplb_table from 1 to 1"),
        ({"eplb_table": torch.ones(2).int()}, ValueError, "expected eplb_table of"),
        ({"expert_scales": torch.ones(1, 1)}, ValueError, "both or neither"),
        ({"active_mask": torch.ones(1).bool()}, ValueError, "with active_mask, got None"),
    ],
)
def test_placing_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "expert_ids": torch.tensor([[1]]).int(),
        "eplb_table": torch.ones(2, 2).int(),
        "local_rank_id": 0,
        "world_size": 4,
    }
    with pytest.raises(error, match="npu_moe_update_expert: .*" + text):
        UPDATE(**on_npu(call | change))


@settings(max_examples=200, deadline=None)
@given(
    tokens=st.integers(0, 5),
    experts=st.integers(0, 4),
    k=st.integers(0, 4),
    rows=st.integers(-1, 12),
    pads=st.booleans(),
    with_probs=st.booleans(),
)
def test_any_map_is_right_or_refused(
    tokens: int, experts: int, k: int, rows: int, pads: bool, with_probs: bool
) -> None:
    x, chosen = torch.randn(tokens, 3), routing_map(tokens, experts, k)
    probs = torch.rand(tokens, experts) if with_probs else None
    try:
        y, weights, _ = PERMUTE(
            *on_npu((x, chosen)), probs=on_npu(probs), num_out_tokens=rows, drop_and_pad=pads
        )
    except ValueError as error:
        assert "npu_moe_token_permute_with_routing_map: expected" in str(error)  # noqa: PT017
        return
    want = moe.permute_with_routing_map(x, chosen, rows // experts if pads else None)
    assert_equal(y, x[[token for token, _ in want]])
    if probs is not None:
        assert weights.tolist() == [probs[row].item() for row in want]
