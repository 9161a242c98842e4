"""Dispatch of tokens to the cards of their experts and back, for a card alone."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import moe, quant

OPS = torch.ops.npu
DISPATCH, DISPATCH_V2 = OPS.npu_moe_distribute_dispatch, OPS.npu_moe_distribute_dispatch_v2
COMBINE, COMBINE_V2 = OPS.npu_moe_distribute_combine, OPS.npu_moe_distribute_combine_v2
ADD_NORM = OPS.npu_moe_distribute_combine_add_rms_norm
E4M3, E5M2, E2M1 = 292, 291, 296


def choices(tokens: int, k: int, experts: int) -> torch.Tensor:
    """Returns `k` different experts for each token."""
    order = torch.rand(tokens, experts).argsort(1)
    return order[:, :k].int()


def alone(experts: int) -> dict[str, Any]:
    return {
        "group_ep": "",
        "ep_world_size": 1,
        "ep_rank_id": 0,
        "moe_expert_num": experts,
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("tokens", "experts", "k"), [(0, 4, 2), (1, 4, 2), (5, 4, 3), (6, 2, 2)])
def test_rows_come_by_expert_and_return_weighted(
    tokens: int, experts: int, k: int, dtype: torch.dtype
) -> None:
    x, ids = torch.randn(tokens, 8).to(dtype), choices(tokens, k, experts)
    rows, counts = moe.dispatch(ids, experts, torch.ones_like(ids).bool())
    weights = torch.rand(tokens, k)
    for send, receive in ((DISPATCH, COMBINE), (DISPATCH_V2, COMBINE_V2)):
        y, _, info, nums, ends, tp, _ = send(*on_npu((x, ids)), **alone(experts))
        assert y.shape == (tokens * min(experts, k), 8)
        assert_equal(y[: len(rows)], x[[token for token, _ in rows]])
        assert not y[len(rows) :].any()
        assert nums.tolist() == counts
        assert ends.tolist() == torch.tensor(counts).cumsum(0).tolist()
        assert tp.shape == (0,)
        back = receive(y * 2, ids.npu(), info, ends, weights.npu(), **alone(experts))
        want = moe.combine(x[[token for token, _ in rows]] * 2, rows, weights)
        assert_equal(back, want.to(dtype))
    assert_meta_agrees(DISPATCH, x, ids, **alone(experts))
    assert_meta_agrees(DISPATCH_V2, x, ids, tp_world_size=1, **alone(experts))


@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([True, True, False]),
        torch.tensor([[True, False], [False, False], [True, True]]),
    ],
)
def test_inactive_choices_stay_at_home(mask: torch.Tensor) -> None:
    x, ids = torch.randn(3, 8).bfloat16(), torch.tensor([[0, 2], [1, 0], [2, 1]]).int()
    active = mask if mask.dim() == 2 else mask.unsqueeze(1).expand(3, 2)
    rows, counts = moe.dispatch(ids, 3, active)
    weights = torch.rand(3, 2)
    for send, receive in ((DISPATCH, COMBINE), (DISPATCH_V2, COMBINE_V2)):
        y, _, info, nums, ends, _, _ = send(
            *on_npu((x, ids)), x_active_mask=mask.npu(), expert_token_nums_type=0, **alone(3)
        )
        assert nums.tolist() == torch.tensor(counts).cumsum(0).tolist()
        back = receive(
            y, ids.npu(), info, ends, weights.npu(), x_active_mask=mask.npu(), **alone(3)
        )
        assert_equal(back, moe.combine(y.cpu(), rows, weights).bfloat16())


def test_rows_are_quantised_by_token_after_smoothing() -> None:
    x, ids = torch.randn(4, 16).bfloat16(), choices(4, 2, 3)
    scales = torch.rand(3, 16) + 0.5
    rows, _ = moe.dispatch(ids, 3, torch.ones(4, 2).bool())
    smooth = scales[[int(ids[row]) for row in rows]]
    values = x[[token for token, _ in rows]].float() * smooth
    y, factors, *_ = DISPATCH(*on_npu((x, ids)), scales=scales.npu(), quant_mode=2, **alone(3))
    codes, want = quant.quantize(values, (1,), torch.int8)
    assert_equal(y, codes)
    assert_equal(factors, want.squeeze(1))
    y, factors, *_ = DISPATCH_V2(
        *on_npu((x, ids)), scales=scales.npu(), quant_mode=2, y_dtype=E4M3, **alone(3)
    )
    codes, want = quant.quantize(values, (1,), torch.float8_e4m3fn)
    assert torch.equal(y.cpu().view(torch.uint8), codes.view(torch.uint8))
    assert_equal(factors, want.squeeze(1))


def test_rows_may_have_a_scale_given_for_all() -> None:
    x, ids = torch.randn(2, 8).bfloat16(), torch.tensor([[0], [1]]).int()
    y, *_ = DISPATCH_V2(
        *on_npu((x, ids)), scales=torch.tensor([20.0]).npu(), quant_mode=1, **alone(2)
    )
    assert_equal(y, (x.float() * 20).round().clamp(-128, 127).to(torch.int8))


@pytest.mark.parametrize(("mode", "y_dtype"), [(3, E4M3), (3, E5M2), (4, E5M2), (4, E2M1)])
def test_rows_are_quantised_by_tiles_and_blocks(mode: int, y_dtype: int) -> None:
    x, ids = torch.randn(3, 160).bfloat16(), torch.tensor([[1], [0], [1]]).int()
    y, scale, *_ = DISPATCH_V2(*on_npu((x, ids)), quant_mode=mode, y_dtype=y_dtype, **alone(2))
    rows = x[[1, 0, 2]]
    dtype = {E4M3: torch.float8_e4m3fn, E5M2: torch.float8_e5m2}.get(y_dtype)
    if mode == 3:
        assert dtype is not None
        padded = torch.nn.functional.pad(rows.float(), (0, 96)).view(3, 2, 128)
        want, factors = quant.quantize(padded, (2,), dtype)
        assert_equal(scale, factors.squeeze(2))
        assert torch.equal(y.cpu().view(torch.uint8), want.flatten(1)[:, :160].view(torch.uint8))
    else:
        want, factors = quant.mx_quantize(rows, -1, dtype)
        assert_equal(scale, factors.flatten(1))
        found = quant.decode_e2m1(y.cpu()) if dtype is None else y.cpu().float()
        assert torch.equal(found, want.float())
    assert_meta_agrees(DISPATCH_V2, x, ids, quant_mode=mode, y_dtype=y_dtype, **alone(2))


def test_experts_that_no_card_computes_are_combined_from_the_token() -> None:
    x, ids = torch.randn(3, 4).half(), torch.tensor([[0, 2], [3, 4], [1, 5]]).int()
    special = {"zero_expert_num": 1, "copy_expert_num": 1, "const_expert_num": 2}
    y, _, info, nums, ends, _, _ = DISPATCH_V2(*on_npu((x, ids)), **special, **alone(2))
    assert nums.tolist() == [1, 1]
    weights, shared = torch.rand(3, 2), torch.randn(3, 4).half()
    alpha, beta, v = torch.randn(3, 2, 4).half().unbind(0)
    back = COMBINE_V2(
        y,
        ids.npu(),
        info,
        ends,
        weights.npu(),
        shared_expert_x=shared.npu(),
        ori_x=x.npu(),
        const_expert_alpha_1=alpha.npu(),
        const_expert_alpha_2=beta.npu(),
        const_expert_v=v.npu(),
        **special,
        **alone(2),
    )
    w, wide = weights.double(), x.double()
    want = shared.double()
    want[0] += w[0, 0] * wide[0]  # expert 0; expert 2 is the zero one
    want[1] += w[1, 0] * wide[1]  # a copy
    want[1] += w[1, 1] * (alpha[0].double() * wide[1] + beta[0].double() * v[0].double())
    want[2] += w[2, 0] * wide[2]  # expert 1
    want[2] += w[2, 1] * (alpha[1].double() * wide[2] + beta[1].double() * v[1].double())
    assert_equal(back, want.half())


def test_the_sum_may_be_normalised_on_the_way() -> None:
    x, ids, weights = torch.randn(4, 8).bfloat16(), choices(4, 2, 3), torch.rand(4, 2)
    residual, gamma = torch.randn(4, 1, 8).bfloat16(), torch.rand(8).bfloat16()
    y, _, info, _, ends, _, _ = DISPATCH_V2(*on_npu((x, ids)), **alone(3))
    rows, _ = moe.dispatch(ids, 3, torch.ones(4, 2).bool())
    args = (y, ids, info, ends, weights, residual, gamma)
    normed, rstd, total = ADD_NORM(*on_npu(args), **alone(3))
    want = moe.combine(y.cpu(), rows, weights).unsqueeze(1) + residual.double()
    scale = (want.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    assert_equal(total, want.bfloat16())
    assert_equal(rstd, scale.float())
    assert_equal(normed, (want * scale * gamma.double()).bfloat16())
    cpu = tuple(t.cpu() for t in args)
    assert_meta_agrees(ADD_NORM, *cpu, **alone(3))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"ep_world_size": 2}, NotImplementedError, "ep_world_size of 2 is not built yet"),
        ({"ep_rank_id": 1}, ValueError, "expected a rank below ep_world_size = 1, got 1"),
        ({"ep_world_size": 0}, ValueError, "expected ep_world_size of 1 or more"),
        ({"tp_world_size": 2}, ValueError, "expected tp_world_size of 0 or 1"),
        ({"moe_expert_num": 0}, ValueError, "expected moe_expert_num of 1 or more"),
        ({"expert_shard_type": 1}, ValueError, "expected expert_shard_type of 0"),
        ({"shared_expert_num": 2}, ValueError, "expected shared_expert_num of 0 or 1"),
        ({"shared_expert_rank_num": 1}, ValueError, "shared_expert_rank_num below"),
        ({"global_bs": 1}, ValueError, "expected global_bs of 0 or at least the 2"),
        ({"comm_alg": "ring"}, ValueError, "expected comm_alg"),
        ({"zero_expert_num": -1}, ValueError, "expected zero_expert_num"),
        ({"x": torch.ones(2, 4)}, TypeError, "expected x of float16 or bfloat16"),
        ({"x": torch.ones(3, 4).half()}, ValueError, r"expected expert_ids of \[3, k\]"),
        ({"expert_ids": torch.zeros(2, 1)}, TypeError, "expected expert_ids of int32"),
        ({"expert_ids": torch.tensor([[0], [4]]).int()}, IndexError, "expert_ids from 0 to 1"),
        ({"x_active_mask": torch.tensor([False, True])}, ValueError, "all true values before"),
        ({"x_active_mask": torch.ones(3).bool()}, ValueError, "expected x_active_mask of"),
        ({"quant_mode": 5}, NotImplementedError, "quant_mode 5 is not built yet"),
        ({"quant_mode": 6}, ValueError, "expected quant_mode from 0 to 4"),
        ({"quant_mode": 3}, ValueError, "expected y_dtype of fp8 for quant_mode 3, got None"),
        ({"quant_mode": 1}, ValueError, "expected scales for quant_mode 1"),
        ({"scales": torch.ones(2, 4)}, ValueError, "expected no scales for quant_mode 0"),
        ({"quant_mode": 2, "scales": torch.ones(3, 4)}, ValueError, r"scales of \[2, 4\]"),
        ({"expert_token_nums_type": 2}, ValueError, "expected expert_token_nums_type"),
        ({"expert_scales": torch.ones(2)}, ValueError, "expected expert_scales"),
        ({"elastic_info": torch.ones(2).int()}, NotImplementedError, "elastic_info is not built"),
    ],
)
def test_dispatch_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "x": torch.ones(2, 4).half(),
        "expert_ids": torch.tensor([[0], [1]]).int(),
        **alone(2),
    }
    with pytest.raises(error, match="npu_moe_distribute_dispatch_v2: .*" + text):
        DISPATCH_V2(**on_npu(call | change))


def test_a_token_may_not_choose_an_expert_twice() -> None:
    x, ids = torch.ones(1, 4).half(), torch.tensor([[0, 0, 0]]).int()
    with pytest.raises(ValueError, match="expected expert_ids that differ within a token"):
        DISPATCH(*on_npu((x, ids)), **alone(2))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"expand_x": torch.ones(2, 4)}, TypeError, "expand_x of float16 or bfloat16"),
        ({"ep_send_counts": torch.ones(3).int()}, ValueError, r"ep_send_counts of \[2\]"),
        ({"ep_send_counts": torch.tensor([1, 9]).int()}, IndexError, "ep_send_counts from 0 to 2"),
        ({"assist_info_for_combine": torch.zeros(3).int()}, ValueError, "3 integers or more"),
        ({"assist_info_for_combine": torch.ones(6).int()}, IndexError, "choice of a row"),
        ({"expert_scales": torch.ones(2, 1).half()}, TypeError, "expert_scales of float32"),
        ({"expert_scales": torch.ones(2, 2)}, ValueError, r"expert_scales of \[2, 1\]"),
        ({"shared_expert_x": torch.ones(2, 3).half()}, ValueError, "shared_expert_x of"),
        ({"comm_quant_mode": 2}, NotImplementedError, "comm_quant_mode 2 is not built"),
        ({"copy_expert_num": 1}, ValueError, r"ori_x of \[2, 4\] for copy"),
        ({"ep_world_size": 4}, NotImplementedError, "ep_world_size of 4 is not built"),
    ],
)
def test_combine_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "expand_x": torch.ones(2, 4).half(),
        "expert_ids": torch.tensor([[0], [1]]).int(),
        "assist_info_for_combine": torch.tensor([0, 0, 0, 0, 1, 0]).int(),
        "ep_send_counts": torch.tensor([1, 2]).int(),
        "expert_scales": torch.ones(2, 1),
        **alone(2),
    }
    with pytest.raises(error, match="npu_moe_distribute_combine_v2: .*" + text):
        COMBINE_V2(**on_npu(call | change))


def test_a_card_alone_waits_for_nobody() -> None:
    x = torch.randn(3)
    card = x.npu()
    with torch_npu_sim.trace() as trace:
        found = torch_npu_sim._npu_distribute_barrier(card, "group", 1)
    assert_equal(found, x)
    assert trace.kernels == []
    with pytest.raises(NotImplementedError, match="_npu_distribute_barrier: world_size of 2"):
        torch_npu_sim._npu_distribute_barrier(x.npu(), "group", 2)
    assert_meta_agrees(OPS._npu_distribute_barrier, x, "group", 1)


def test_a_dispatch_moves_a_row_a_choice() -> None:
    x, ids = torch.randn(16, 64).bfloat16().npu(), choices(16, 2, 4).npu()
    with torch_npu_sim.trace() as trace:
        DISPATCH_V2(x, ids, **alone(4))
    (kernel,) = trace.kernels
    assert kernel.name == "gather"
    rows = 32
    written = rows * 64 * 2 + rows * 4 + rows * 128 * 4 + 4 * 8 + 4 * 4 + rows * 4
    assert kernel.bytes_written == written


@settings(max_examples=200, deadline=None)
@given(
    tokens=st.integers(0, 4),
    k=st.integers(0, 3),
    experts=st.integers(0, 3),
    extra=st.integers(0, 2),
    mode=st.integers(-1, 6),
    global_bs=st.integers(0, 5),
    y_dtype=st.sampled_from([None, 1, E4M3, E2M1]),
    dtype=st.sampled_from([torch.float16, torch.float32]),
)
def test_any_dispatch_is_right_or_refused(
    tokens: int,
    k: int,
    experts: int,
    extra: int,
    mode: int,
    global_bs: int,
    y_dtype: int | None,
    dtype: torch.dtype,
) -> None:
    x = torch.randn(tokens, 64).to(dtype)
    ids = torch.randint(0, max(experts + extra, 1), (tokens, k), dtype=torch.int32)
    try:
        y, _, info, nums, ends, _, _ = DISPATCH_V2(
            *on_npu((x, ids)),
            quant_mode=mode,
            global_bs=global_bs,
            y_dtype=y_dtype,
            zero_expert_num=extra,
            **alone(experts),
        )
    except (ValueError, TypeError, IndexError, NotImplementedError) as error:
        assert "npu_moe_distribute_dispatch_v2: " in str(error)  # noqa: PT017
        return
    rows, counts = moe.dispatch(ids, experts, torch.ones(tokens, k).bool())
    assert nums.tolist() == counts
    assert y.shape[0] == (global_bs or tokens) * min(experts, k)
    if mode == 0:
        weights = torch.rand(tokens, k)
        back = COMBINE_V2(
            y, ids.npu(), info, ends, weights.npu(), zero_expert_num=extra, **alone(experts)
        )
        assert_equal(back, moe.combine(y.cpu(), rows, weights).to(dtype))
