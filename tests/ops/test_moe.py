"""Gating, routing and permutation of tokens against loops over tokens."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import moe

FLOATS = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("norm_type", [0, 1, 2])
@pytest.mark.parametrize("groups", [(1, 1, 0), (4, 2, 0), (4, 2, 1)])
def test_gating_takes_the_best_experts_of_the_best_groups(
    groups: tuple[int, int, int], norm_type: int, dtype: torch.dtype
) -> None:
    count, kept, mode = groups
    x, bias = torch.randn(6, 16, dtype=dtype), torch.randn(16)
    options: dict[str, Any] = {
        "k_group": kept,
        "group_count": count,
        "group_select_mode": mode,
        "norm_type": norm_type,
        "routed_scaling_factor": 2.5,
    }
    y, experts, scores = torch_npu_sim.npu_moe_gating_top_k(
        x.npu(), 3, bias=bias.npu(), out_flag=True, **options
    )
    want_y, want_experts, want_scores = moe.gating_top_k(x, 3, bias=bias, **options)
    assert_equal(experts, want_experts)
    assert_equal(y, want_y.to(dtype))
    assert_equal(scores, want_scores.float())
    assert_meta_agrees(torch.ops.npu.npu_moe_gating_top_k, x, 3, bias=bias, **options)


def test_gating_of_equal_scores_takes_the_lower_expert() -> None:
    _, experts, _ = torch_npu_sim.npu_moe_gating_top_k(torch.zeros(2, 8, device="npu"), 3)
    assert experts.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_hash_routing_takes_the_experts_of_the_token_id() -> None:
    x, ids = torch.randn(3, 8), torch.tensor([4, 0, 4])
    table = torch.randint(0, 8, (5, 2), dtype=torch.int32)
    y, experts, _ = torch_npu_sim.npu_moe_gating_top_k(
        x.npu(), 2, input_ids=ids.npu(), tid2eid=table.npu(), norm_type=1
    )
    assert_equal(experts, table[ids])
    chosen = torch.sigmoid(x).gather(1, table[ids].long())
    assert_equal(y, chosen / chosen.sum(-1, keepdim=True))


@pytest.mark.parametrize("norm_type", [0, 1, 2])
def test_the_gradient_of_gating_passes_gradcheck(norm_type: int) -> None:
    x = torch.randn(3, 6, dtype=torch.float64, device="npu", requires_grad=True)

    def weights(x: torch.Tensor) -> torch.Tensor:
        return torch.ops.npu.npu_moe_gating_top_k(x, 2, norm_type=norm_type)[0]

    # The scores that the backward operator reads are float32 on the card.
    assert torch.autograd.gradcheck(weights, (x,), eps=1e-4, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": torch.ones(8)}, ValueError, "expected x of"),
        ({"x": torch.ones(2, 8, dtype=torch.int32)}, TypeError, "expected floating x"),
        ({"k": 9}, ValueError, "expected k from 1 to the 8"),
        ({"norm_type": 3}, ValueError, "expected norm_type"),
        ({"group_count": 3}, ValueError, "expected group_count that divides"),
        ({"group_count": 4, "k_group": 5}, ValueError, "expected k_group"),
        ({"bias": torch.ones(7)}, ValueError, r"expected bias of \[8\]"),
        ({"input_ids": torch.zeros(2, dtype=torch.long)}, ValueError, "both or neither"),
        (
            {"input_ids": torch.tensor([0, 7]), "tid2eid": torch.zeros(3, 2, dtype=torch.int32)},
            IndexError,
            "expected input_ids from 0 to 2, got 7",
        ),
    ],
)
def test_gating_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = on_npu({"x": torch.ones(2, 8), "k": 2} | change)
    with pytest.raises(error, match="npu_moe_gating_top_k: .*" + text):
        torch_npu_sim.npu_moe_gating_top_k(call.pop("x"), call.pop("k"), **call)


@pytest.mark.parametrize("shape", [(4, 8), (2, 3, 8), (0, 8)])
def test_gating_by_softmax_numbers_rows_by_columns(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    finished = torch.rand(shape[:-1]) < 0.5
    y, experts, rows = torch_npu_sim.npu_moe_gating_top_k_softmax(x.npu(), finished.npu(), 2)
    want, chosen = torch.softmax(x, -1).topk(2)
    assert_equal(y, want)
    assert_equal(experts, chosen.masked_fill(finished.unsqueeze(-1), 8).int())
    tokens = x.numel() // 8
    columns = torch.arange(tokens * 2, dtype=torch.int32).view(2, tokens).t()
    assert_equal(rows, columns.reshape(chosen.shape))
    assert_meta_agrees(torch.ops.npu.npu_moe_gating_top_k_softmax, x, finished, 2)


def test_gating_by_softmax_may_normalise_after_the_choice() -> None:
    x = torch.randn(4, 8)
    y, _, none = torch_npu_sim.npu_moe_gating_top_k_softmax_v2(x.npu(), k=3, renorm=1)
    assert_equal(y, torch.softmax(x.topk(3).values, -1))
    assert none.shape == (0,)
    _, _, scores = torch_npu_sim.npu_moe_gating_top_k_softmax_v2(x.npu(), k=3, output_softmax=True)
    assert_equal(scores, torch.softmax(x, -1))


@pytest.mark.parametrize("tokens", [0, 1, 7])
@pytest.mark.parametrize("served", [(0, 5), (1, 3), (4, 5)])
def test_routing_sorts_the_served_experts_first(served: tuple[int, int], tokens: int) -> None:
    x, experts = torch.randn(tokens, 4), torch.randint(0, 5, (tokens, 2), dtype=torch.int32)
    rows, places, counts, _ = torch_npu_sim.npu_moe_init_routing_v2(
        *on_npu((x, experts)),
        expert_num=5,
        expert_tokens_num_type=1,
        expert_tokens_num_flag=True,
        active_expert_range=list(served),
    )
    want_rows, want_places, want_counts = moe.init_routing_v2(x, experts, *served)
    assert_equal(rows, want_rows)
    assert places.tolist() == want_places
    assert counts.tolist() == want_counts
    assert_meta_agrees(torch.ops.npu.npu_moe_init_routing_v2, x, experts, expert_num=5)


def test_routing_counts_by_sums_and_by_pairs() -> None:
    x, experts = torch.randn(4, 4), torch.tensor([[3, 1], [1, 1], [3, 0], [1, 3]]).int()

    def counts(kind: int) -> list[Any]:
        result = torch_npu_sim.npu_moe_init_routing_v2(
            *on_npu((x, experts)),
            expert_num=5,
            expert_tokens_num_type=kind,
            expert_tokens_num_flag=True,
        )
        return list(result[2].tolist())

    assert counts(0) == [1, 5, 5, 8, 8]
    assert counts(2) == [[0, 1], [1, 4], [3, 3], [0, 0], [0, 0]]


def test_routing_with_a_capacity_drops_late_choices() -> None:
    x, experts = torch.randn(3, 2), torch.tensor([[0], [0], [0]]).int()
    rows, places, _, _ = torch_npu_sim.npu_moe_init_routing_v2(
        *on_npu((x, experts)), expert_num=2, expert_capacity=2, drop_pad_mode=1
    )
    assert_equal(rows, torch.stack([x[:2], torch.zeros(2, 2)]))
    assert places.tolist() == [0, 1, -1]


def test_routing_scatters_and_moves_scales() -> None:
    x, experts, scale = torch.randn(2, 3), torch.tensor([[1, 0], [0, 1]]).int(), torch.rand(2)
    _, sources, _, scales = torch_npu_sim.npu_moe_init_routing_v2(
        *on_npu((x, experts)), scale=scale.npu(), expert_num=2, row_idx_type=1
    )
    assert sources.tolist() == [1, 2, 0, 3]
    assert_equal(scales, scale[[0, 1, 0, 1]])


def test_routing_refuses_an_expert_out_of_range() -> None:
    x, experts = torch.randn(2, 3).npu(), torch.tensor([[1], [7]]).int().npu()
    with pytest.raises(IndexError, match=r"npu_moe_init_routing_v2: expected expert_idx from 0"):
        torch_npu_sim.npu_moe_init_routing_v2(x, experts, expert_num=4)


@pytest.mark.parametrize("mode", [0, 2])
def test_results_come_back_by_their_weights(mode: int) -> None:
    rows, scales = torch.randn(8, 5), torch.rand(4, 2)
    skip, bias, experts = torch.randn(4, 5), torch.randn(3, 5), torch.randint(0, 3, (4, 2)).int()
    places = torch.randperm(8).int()
    places[3] = -1
    out = torch_npu_sim.npu_moe_finalize_routing(
        *on_npu((rows, skip, None, bias, scales, places, experts)), drop_pad_mode=mode
    )
    grid = places.view(2, 4).t() if mode == 0 else places.view(4, 2)
    want = moe.finalize_routing(rows, scales, grid.tolist()) + skip
    want += (scales.double().unsqueeze(-1) * bias[experts.long()]).sum(1)
    assert_equal(out, want.float())


def test_expert_tokens_are_the_ends_of_their_runs() -> None:
    experts = torch.tensor([0, 0, 2, 2, 2, 4]).int()
    ends = torch_npu_sim.npu_moe_compute_expert_tokens(experts.npu(), 6)
    assert ends.dtype == torch.int32
    assert ends.tolist() == [2, 2, 5, 5, 6, 6]


def test_re_routing_gathers_the_ranks_of_an_expert() -> None:
    counts = torch.tensor([[2, 1], [0, 3]])
    tokens = torch.arange(6.0).unsqueeze(1)
    rows, _, order, totals = torch_npu_sim.npu_moe_re_routing(*on_npu((tokens, counts)))
    assert order.tolist() == [0, 1, 2, 3, 4, 5]
    swapped = torch.tensor([[1, 2], [2, 1]])
    rows, _, order, totals = torch_npu_sim.npu_moe_re_routing(*on_npu((tokens, swapped)))
    assert order.tolist() == [0, 3, 4, 1, 2, 5]
    assert rows.flatten().tolist() == [0, 3, 4, 1, 2, 5]
    assert totals.tolist() == [3, 3]
    with pytest.raises(ValueError, match="adds up to the 6 rows"):
        torch_npu_sim.npu_moe_re_routing(tokens.npu(), counts.npu() + 1)


def test_first_routing_follows_row_idx() -> None:
    x, experts = torch.randn(3, 2), torch.tensor([[2, 0], [1, 2], [0, 1]]).int()
    row_idx = torch.arange(6).view(2, 3).t().contiguous().int()
    rows, places, sorted_experts = torch_npu_sim.npu_moe_init_routing(
        *on_npu((x, row_idx, experts)), 3
    )
    assert sorted_experts.tolist() == [0, 0, 1, 1, 2, 2]
    for token in range(3):
        for choice in range(2):
            place = places[row_idx[token, choice]]
            assert_equal(rows[place], x[token])
            assert sorted_experts[place] == experts[token, choice]


@pytest.mark.parametrize("dtype", FLOATS)
def test_permuted_tokens_come_back(dtype: torch.dtype) -> None:
    tokens, experts = torch.randn(5, 4, dtype=dtype), torch.randint(0, 3, (5, 2))
    probs = torch.rand(5, 2, dtype=dtype)
    permuted, places = torch_npu_sim.npu_moe_token_permute(*on_npu((tokens, experts)))
    want, want_places = moe.permute(tokens, experts)
    assert_equal(permuted, want)
    assert_equal(places, want_places)
    back = torch_npu_sim.npu_moe_token_unpermute(permuted, places, probs.npu())
    assert_equal(back, moe.unpermute(want.double(), want_places, probs.double()).to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_moe_token_permute, tokens, experts)


def test_the_gradients_of_permutation_pass_gradcheck() -> None:
    experts = torch.randint(0, 3, (4, 2)).npu()
    tokens = torch.randn(4, 3, dtype=torch.float64, device="npu", requires_grad=True)
    probs = torch.rand(4, 2, dtype=torch.float64, device="npu", requires_grad=True)

    def there_and_back(tokens: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
        permuted, places = torch_npu_sim.npu_moe_token_permute(tokens, experts, 6)
        return torch.as_tensor(torch_npu_sim.npu_moe_token_unpermute(permuted**2, places, probs))

    assert torch.autograd.gradcheck(there_and_back, (tokens, probs))


def test_both_forms_of_the_backward_operators_agree() -> None:
    tokens, experts, probs = torch.randn(4, 3), torch.randint(0, 3, (4, 2)), torch.rand(4, 2)
    permuted, places = torch_npu_sim.npu_moe_token_permute(*on_npu((tokens, experts)))
    grad = torch.randn(8, 3).npu()
    first = torch_npu_sim.npu_moe_token_permute_grad(tokens.npu(), grad, experts.npu(), places)
    second = torch_npu_sim.npu_moe_token_permute_grad_v2(grad, places, 4, torch.float32, 2)
    assert torch.equal(first, second)
    grad = torch.randn(4, 3).npu()
    ones = torch_npu_sim.npu_moe_token_unpermute_grad(permuted, grad, places, probs.npu())
    twos = torch_npu_sim.npu_moe_token_unpermute_grad_v2(
        grad, places, 8, torch.float32, probs.npu(), permuted_tokens=permuted
    )
    assert all(torch.equal(a, b) for a, b in zip(ones, twos, strict=True))


def test_the_form_for_autograd_also_gives_the_rows_it_needs() -> None:
    rows, places, probs = torch.randn(4, 3).npu(), torch.randperm(4).int().npu(), torch.rand(2, 2)
    y, kept = torch_npu_sim._npu_moe_token_unpermute(rows, places, probs.npu())
    assert torch.equal(y, torch_npu_sim.npu_moe_token_unpermute(rows, places, probs.npu()))
    assert torch.equal(kept, rows)


def test_routing_is_a_sort_and_a_gather() -> None:
    x, experts = torch.randn(16, 64).npu(), torch.randint(0, 4, (16, 2)).int().npu()
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_moe_init_routing_v2(x, experts, expert_num=4)
    assert [kernel.op for kernel in trace.kernels] == ["npu::npu_moe_init_routing_v2"] * 2
    assert [kernel.name for kernel in trace.kernels] == ["sort", "gather"]
    assert trace.kernels[1].bytes_written >= 32 * 64 * 4


@settings(max_examples=250, deadline=None)
@given(
    tokens=st.integers(0, 5),
    experts=st.integers(1, 9),
    k=st.integers(-1, 10),
    count=st.integers(0, 4),
    kept=st.integers(0, 4),
    mode=st.integers(-1, 2),
    norm_type=st.integers(-1, 3),
    seed=st.integers(0, 99),
)
def test_any_gating_is_right_or_refused(
    tokens: int, experts: int, k: int, count: int, kept: int, mode: int, norm_type: int, seed: int
) -> None:
    x = torch.randn(tokens, experts, generator=torch.Generator().manual_seed(seed))
    options: dict[str, Any] = {
        "k_group": kept,
        "group_count": count,
        "group_select_mode": mode,
        "norm_type": norm_type,
    }
    try:
        y, chosen, _ = torch_npu_sim.npu_moe_gating_top_k(x.npu(), k, **options)
    except ValueError as error:
        assert "npu_moe_gating_top_k: expected" in str(error)  # noqa: PT017
        return
    want_y, want_chosen, _ = moe.gating_top_k(x, k, **options)
    assert_equal(chosen, want_chosen)
    assert_equal(y, want_y.float())
