"""Routing that quantises rows on their way to the experts, against the formulas of each mode."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import moe, quant

V2 = torch.ops.npu.npu_moe_init_routing_v2
QUANT = torch.ops.npu.npu_moe_init_routing_quant
HALVES = [torch.float16, torch.bfloat16]
INT4 = 285


def routed_rows(x: torch.Tensor, experts: torch.Tensor, count: int) -> torch.Tensor:
    return moe.init_routing_v2(x, experts, 0, count)[0]


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.cpu().contiguous().view(torch.uint8)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("hidden", [32, 80, 300])
@pytest.mark.parametrize("mode", [2, 3, 4, 5, 11, 12, 14, 15, 16, 17])
def test_fp8_rows_have_the_codes_and_scales_of_their_blocks(
    mode: int, hidden: int, dtype: torch.dtype
) -> None:
    x = torch.randn(5, hidden).mul(3).to(dtype)
    x[1] = 0
    experts = torch.randint(0, 4, (5, 2), dtype=torch.int32)
    y, _, _, scale = V2(*on_npu((x, experts)), expert_num=4, quant_mode=mode)
    codes, want = moe.routed_codes(routed_rows(x, experts, 4), mode)
    assert y.dtype == codes.dtype
    assert torch.equal(bits(y), bits(codes))
    if scale.dtype == torch.float8_e8m0fnu:
        scale = scale.view(torch.uint8)
    assert_equal(scale, torch.as_tensor(want))
    assert_meta_agrees(V2, x, experts, expert_num=4, quant_mode=mode)


def test_fp4_rows_are_mx_blocks_with_scales_rounded_down() -> None:
    x, experts = torch.randn(3, 96).bfloat16(), torch.tensor([[1], [0], [1]]).int()
    y, _, _, scale = V2(*on_npu((x, experts)), expert_num=2, quant_mode=9)
    values, want = moe.routed_codes(routed_rows(x, experts, 2), 9)
    assert torch.equal(quant.decode_e2m1(y.cpu()), values)
    assert_equal(scale, torch.as_tensor(want))
    assert_meta_agrees(V2, x, experts, expert_num=2, quant_mode=9)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("smooth", [0, 1, 3])
def test_int8_rows_are_scaled_by_row_after_smoothing_by_expert(
    smooth: int, dtype: torch.dtype
) -> None:
    x, experts = torch.randn(4, 12).to(dtype), torch.randint(0, 5, (4, 2), dtype=torch.int32)
    scale = torch.rand(smooth, 12) + 0.5 if smooth else None
    y, _, _, scales = V2(
        *on_npu((x, experts)),
        scale=on_npu(scale),
        expert_num=5,
        quant_mode=1,
        active_expert_range=[1, 4],
    )
    rows = moe.init_routing_v2(x, experts, 1, 4)[0]
    served = sorted(e for e in experts.flatten().tolist() if 1 <= e < 4)
    factors = None
    if scale is not None:
        own = [e - 1 if smooth == 3 else 0 for e in served] + [0] * (8 - len(served))
        factors = scale[own]
    codes, want = moe.routed_codes(rows, 1, factors)
    assert_equal(y, codes)
    assert_equal(scales, torch.as_tensor(want))


@pytest.mark.parametrize("hidden", [2, 8, 18])
def test_int4_rows_lie_two_to_a_byte(hidden: int) -> None:
    x, experts = torch.randn(3, hidden), torch.tensor([[0, 1], [1, 0], [0, 1]]).int()
    y, _, _, scale = V2(*on_npu((x, experts)), expert_num=2, quant_mode=13, x_dtype=INT4)
    codes, want = moe.routed_codes(routed_rows(x, experts, 2), 13)
    assert y.dtype == torch.uint8
    low, high = codes[:, ::2] & 15, codes[:, 1::2] & 15
    assert torch.equal(y.cpu(), (low | high << 4).to(torch.uint8))
    assert_equal(scale, torch.as_tensor(want))
    assert_meta_agrees(V2, x, experts, expert_num=2, quant_mode=13)


def test_static_int8_is_computed_in_float16() -> None:
    x, experts = torch.randn(3, 40), torch.tensor([[0], [1], [3]]).int()
    scale, offset = torch.tensor([21.7]), torch.tensor([-3.2])
    y, _, _, _ = V2(
        *on_npu((x, experts)),
        scale=scale.npu(),
        offset=offset.npu(),
        expert_num=4,
        quant_mode=0,
        active_expert_range=[0, 2],
    )
    want = (x.half() * scale.half() + offset.half()).round().clamp(-128, 127).to(torch.int8)
    want[2] = 0  # its expert is not served
    assert_equal(y, want)


@pytest.mark.parametrize(("mode", "scale"), [(6, None), (7, torch.tensor([0.5])), (8, None)])
def test_hifloat8_rows_round_to_three_bits_near_one(mode: int, scale: torch.Tensor | None) -> None:
    x, experts = (torch.rand(2, 16) + 1).bfloat16(), torch.tensor([[1], [0]]).int()
    given = x if mode != 7 else x * 2
    y, _, _, scales = V2(
        *on_npu((given, experts)), scale=on_npu(scale), expert_num=2, quant_mode=mode
    )
    rows = x[[1, 0]].float()
    assert y.dtype == torch.uint8
    if mode == 8:
        assert_equal(scales, rows.amax(1) / 2**15)
        return
    eighths = torch.floor(rows * 8 + 0.5)  # ties away from zero
    code = torch.where(eighths == 16, torch.tensor(16.0), eighths)
    near_two = eighths == 16
    assert torch.equal(y.cpu()[~near_two], code.to(torch.uint8)[~near_two])
    assert torch.equal(scales.cpu(), torch.zeros(2))


@pytest.mark.parametrize("mode", [0, 1])
def test_a_capacity_pads_quantised_rows_with_zeros(mode: int) -> None:
    x, experts = torch.randn(4, 6), torch.tensor([[0, 2], [0, 1], [0, 2], [2, 2]]).int()
    one = {"scale": torch.tensor([9.0]), "offset": torch.tensor([1.0])} if mode == 0 else {}
    y, places, counts, scale = V2(
        *on_npu((x, experts)),
        **on_npu(one),
        expert_num=3,
        expert_capacity=2,
        drop_pad_mode=1,
        expert_tokens_num_type=1,
        expert_tokens_num_flag=True,
        quant_mode=mode,
    )
    rows = torch.stack([x[0], x[1], x[1], torch.zeros(6), x[0], x[2]])
    want = (rows.half() * 9 + 1).round().to(torch.int8)
    want[3] = 0
    if mode == 1:
        want, want_scale = moe.routed_codes(rows, 1)
        assert_equal(scale, torch.as_tensor(want_scale))
    assert_equal(y, want.view(3, 2, 6))
    assert places.tolist() == [0, 4, 1, 2, -1, 5, -1, -1]
    assert counts.tolist() == [3, 1, 4]


def test_rows_that_are_codes_move_with_their_scales() -> None:
    x = torch.randn(3, 64).to(torch.float8_e4m3fn)
    scale = torch.randint(100, 140, (3, 1, 2), dtype=torch.uint8)
    experts = torch.tensor([[2], [0], [1]]).int()
    y, _, _, moved = V2(*on_npu((x, experts)), scale=on_npu(scale), expert_num=3)
    assert torch.equal(bits(y), bits(x.view(torch.uint8)[[1, 2, 0]]))
    assert_equal(moved, scale[[1, 2, 0]])
    as_scale = scale.view(torch.float8_e8m0fnu)
    _, _, _, moved = V2(*on_npu((x, experts)), scale=on_npu(as_scale), expert_num=3)
    assert_equal(moved, scale[[1, 2, 0]])


def test_counts_that_nobody_asked_for_are_zeros_of_their_shape() -> None:
    x, experts = torch.randn(3, 4), torch.tensor([[2], [0], [1]]).int()
    for kind, shape in ((0, (2,)), (1, (2,)), (2, (3, 2))):
        options = {"active_expert_range": [0, 2], "expert_tokens_num_type": kind}
        counts = V2(*on_npu((x, experts)), expert_num=3, **options)[2]
        assert counts.shape == shape
        assert not counts.any()


@pytest.mark.parametrize("tokens", [0, 1, 6])
@pytest.mark.parametrize("counts", [0, 1, 2])
def test_the_quantising_form_counts_in_int32(counts: int, tokens: int) -> None:
    x, experts = torch.randn(tokens, 8), torch.randint(0, 3, (tokens, 2), dtype=torch.int32)
    y, places, ends, before, scale = QUANT(
        *on_npu((x, experts)), expert_num=3, active_num=0, expert_tokens_num_mode=counts
    )
    rows, want_places, want_counts = moe.init_routing_v2(x, experts, 0, 3)
    codes, want_scale = moe.routed_codes(rows, 1)
    assert_equal(y, codes)
    assert_equal(scale, torch.as_tensor(want_scale))
    assert places.tolist() == want_places
    assert before is None
    if counts == 0:
        assert ends is None
    else:
        want = torch.tensor(want_counts).int()
        assert_equal(ends, want.cumsum(0).int() if counts == 1 else want)


def test_the_quantising_form_counts_before_it_drops() -> None:
    x, experts = torch.randn(3, 8), torch.tensor([[1], [1], [1]]).int()
    y, _, ends, before, scale = QUANT(
        *on_npu((x, experts)),
        scale=torch.ones(1).npu(),
        offset=torch.zeros(1).npu(),
        expert_num=2,
        expert_capacity=2,
        drop_pad_mode=1,
        expert_tokens_before_capacity_flag=True,
        quant_mode=0,
    )
    assert y.shape == (2, 2, 8)
    assert (ends, scale) == (None, None)
    assert before.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"quant_mode": 10}, ValueError, "expected quant_mode of -1 to 9 or 11 to 17, got 10"),
        ({"quant_mode": 0}, ValueError, r"expected scale of \[1\] for quant_mode 0"),
        ({"quant_mode": 7}, ValueError, r"expected scale of \[1\] for quant_mode 7"),
        ({"quant_mode": 1, "x_dtype": INT4}, ValueError, "expected quant_mode=13 for x_dtype"),
        ({"quant_mode": 13, "x_dtype": 1}, ValueError, "expected x_dtype of int4 or None"),
        ({"quant_mode": 13, "scale": torch.ones(2, 8)}, ValueError, r"scale of \[1, 8\]"),
        ({"quant_mode": 13, "x": torch.ones(2, 7).bfloat16()}, ValueError, "an even width of x"),
        ({"quant_mode": 13, "x": torch.ones(2, 8).half()}, TypeError, "x of float32 or bfloat16"),
        ({"quant_mode": 3, "x": torch.ones(2, 8)}, TypeError, "x of float16, bfloat16 for"),
        ({"quant_mode": 1, "x": torch.ones(2, 8).char()}, TypeError, "float16, bfloat16 or float"),
        ({"quant_mode": 1, "offset": torch.ones(1)}, ValueError, "expected no offset"),
        ({"quant_mode": 1, "scale": torch.ones(3, 8)}, ValueError, r"or of a row for each served"),
        (
            {"quant_mode": 3, "drop_pad_mode": 1, "expert_capacity": 1},
            NotImplementedError,
            "drop_pad_mode 1 with quant_mode 3 is not built",
        ),
        (
            {"drop_pad_mode": 1, "expert_capacity": 1, "active_expert_range": [0, 1]},
            ValueError,
            "active_expert_range of all 2",
        ),
        ({"active_expert_range": [0, 3]}, ValueError, "from 0 to expert_num 2"),
        ({"drop_pad_mode": 1}, ValueError, "expected expert_capacity of 1 or more"),
        ({"scale": torch.ones(3)}, ValueError, r"expected scale of \[2, ...\]"),
    ],
)
def test_routing_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "x": torch.ones(2, 8).bfloat16(),
        "expert_idx": torch.tensor([[0], [1]]).int(),
        "expert_num": 2,
    }
    call = on_npu(call | change)
    with pytest.raises(error, match="npu_moe_init_routing_v2: .*" + text):
        V2(call.pop("x"), call.pop("expert_idx"), **call)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"quant_mode": 2}, "expected quant_mode of 0"),
        ({"expert_tokens_num_mode": 3}, "expected expert_tokens_num_mode"),
        ({"drop_pad_mode": 2}, "expected drop_pad_mode of 0 or 1"),
    ],
)
def test_the_quantising_form_refuses_modes_it_lacks(change: dict[str, Any], text: str) -> None:
    x, experts = on_npu((torch.ones(2, 8), torch.tensor([[0], [1]]).int()))
    with pytest.raises(ValueError, match="npu_moe_init_routing_quant: " + text):
        QUANT(x, experts, **({"expert_num": 2} | change))


def test_quantised_routing_reads_x_and_writes_codes() -> None:
    x, experts = torch.randn(16, 64).bfloat16().npu(), torch.randint(0, 4, (16, 2)).int().npu()
    with torch_npu_sim.trace() as trace:
        V2(x, experts, expert_num=4, quant_mode=3)
    assert [kernel.name for kernel in trace.kernels] == ["sort", "gather"]
    rows = 32
    assert trace.kernels[1].bytes_written == rows * 64 + rows * 2 + rows * 4 + 4 * 8


@settings(max_examples=250, deadline=None)
@given(
    tokens=st.integers(0, 4),
    hidden=st.integers(0, 40),
    experts=st.integers(0, 4),
    k=st.integers(0, 3),
    mode=st.integers(-2, 18),
    active=st.integers(-1, 6),
    pads=st.booleans(),
    kind=st.integers(-1, 3),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int8]),
)
def test_any_routing_is_right_or_refused(
    tokens: int,
    hidden: int,
    experts: int,
    k: int,
    mode: int,
    active: int,
    pads: bool,
    kind: int,
    dtype: torch.dtype,
) -> None:
    x = torch.randn(tokens, hidden).to(dtype)
    ids = torch.randint(0, max(experts, 1), (tokens, k), dtype=torch.int32)
    one = torch.ones(1).npu() if mode in (0, 7) else None
    try:
        y, places, _, _ = V2(
            *on_npu((x, ids)),
            scale=one,
            offset=one if mode == 0 else None,
            active_num=active,
            expert_capacity=2,
            expert_num=experts,
            drop_pad_mode=int(pads),
            expert_tokens_num_type=kind,
            expert_tokens_num_flag=True,
            quant_mode=mode,
        )
    except (ValueError, TypeError, NotImplementedError, IndexError) as error:
        assert "npu_moe_init_routing_v2: " in str(error)  # noqa: PT017
        return
    assert places.shape == (tokens * k,)
    rows = experts * 2 if pads else min(active, tokens * k) if active > 0 else tokens * k
    assert y.shape[:2] == (experts, 2) if pads else y.shape[0] == rows
    if mode == -1 and not pads:
        assert_equal(y, moe.init_routing_v2(x, ids, 0, experts)[0][:rows])
