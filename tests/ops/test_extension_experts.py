"""Gating, routing and the quantised activation of the extension."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import extension, moe, quant

torch_npu_sim.enable_custom_ops()
ops = torch.ops.custom

BF16 = torch.bfloat16
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


@pytest.mark.parametrize("dtype", [torch.float32, BF16])
@pytest.mark.parametrize("shape", [(6, 16), (2, 3, 16)])
@pytest.mark.parametrize("norm_type", [0, 1, 2])
def test_gating_is_torch_npus_with_other_argument_places(
    norm_type: int, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, bias = torch.randn(shape, dtype=dtype), torch.randn(16, dtype=dtype)
    options: dict[str, Any] = {"norm_type": norm_type, "routed_scaling_factor": 1.5}
    got = ops.npu_moe_gating_top_k(x.npu(), 3, bias=bias.npu(), out_flag=True, **options)
    flat = x.flatten(0, -2)
    want = moe.gating_top_k(flat, 3, bias=bias, **options)
    for result, expected, kind in zip(got, want, (dtype, torch.int32, torch.float32), strict=True):
        assert_equal(result.flatten(0, -2), expected.to(kind))
        assert result.shape[:-1] == shape[:-1]
    assert_meta_agrees(ops.npu_moe_gating_top_k, x, 3, bias=bias, **options)


def test_hashed_tokens_take_the_experts_of_the_table() -> None:
    x, ids = torch.randn(4, 8), torch.tensor([1, 0, 2, 1])
    table = torch.tensor([[0, 5], [7, 2], [3, 4]], dtype=torch.int32)
    y, experts, _ = ops.npu_moe_gating_top_k(
        x.npu(), 2, input_ids=ids.npu(), tid2eid=table.npu(), norm_type=2
    )
    scores = torch.nn.functional.softplus(x).sqrt().gather(1, table[ids].long())
    assert_equal(experts, table[ids])
    assert_equal(y, scores / scores.sum(-1, keepdim=True))


@pytest.mark.parametrize(
    ("x", "options", "text"),
    [
        (torch.zeros(8), {}, "x of \\[tokens"),
        (torch.zeros(0, 8), {}, "x of \\[tokens"),
        (torch.zeros(2, 8, dtype=torch.int32), {}, "x of bfloat16"),
        (torch.zeros(2, 8), {"bias": torch.zeros(8, dtype=BF16)}, "bias of x's"),
        (torch.zeros(2, 8), {"norm_type": 3}, "norm_type"),
        (torch.zeros(2, 8), {"renorm": 1}, "renorm"),
        (torch.zeros(2, 8), {"input_ids": torch.zeros(2, dtype=torch.int64)}, "input_ids"),
    ],
)
def test_gating_names_the_argument_it_refuses(
    x: torch.Tensor, options: dict[str, Any], text: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=f"npu_moe_gating_top_k: expected .*{text}"):
        ops.npu_moe_gating_top_k(x.npu(), 2, **on_npu(options))


def route(x: torch.Tensor, experts: torch.Tensor, mode: int, **more: Any) -> Any:
    options = {
        "active_num": experts.numel(),
        "expert_num": 4,
        "drop_pad_mode": 0,
        "expert_tokens_num_type": 1,
        "expert_tokens_num_flag": True,
        "quant_mode": mode,
        "active_expert_range": [0, 4],
        "row_idx_type": 0,
    }
    return ops.npu_moe_init_routing_group_quant(x, experts, **(options | more))


@pytest.mark.parametrize("mode", [-1, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("hidden", [64, 200])
@pytest.mark.parametrize("dtype", [BF16, torch.float32])
def test_routed_rows_are_quantised_by_blocks(dtype: torch.dtype, hidden: int, mode: int) -> None:
    x = torch.randn(5, hidden).to(dtype)
    experts = torch.tensor([[3, 0], [1, 3], [0, 2], [3, 1], [0, 1]], dtype=torch.int32)
    rows, places, counts, scale = (t.cpu() for t in route(x.npu(), experts.npu(), mode))
    flat = experts.flatten()
    order = torch.argsort(flat, stable=True)
    source = x[order // 2]
    assert counts.tolist() == [3, 3, 1, 3]
    assert torch.equal(places[order], torch.arange(10, dtype=torch.int32))
    if mode == -1:
        assert torch.equal(rows, source)
        return
    if mode == 1:
        want, want_scale = quant.quantize(source, (-1,), torch.int8)
        assert torch.equal(rows, want)
        assert torch.equal(scale, want_scale[:, 0])
        return
    element = E5M2 if mode in (2, 4) else E4M3
    if mode in (2, 3):
        want, want_scale = quant.mx_quantize(source, -1, element)
        assert torch.equal(scale.view(torch.uint8), want_scale)
    else:
        pairs = [extension.indexer_row(row, element, powers=False) for row in source]
        want = torch.stack([codes for codes, _ in pairs])
        assert torch.equal(scale, torch.stack([s for _, s in pairs]))
    assert torch.equal(rows.view(torch.uint8), want.view(torch.uint8))


@pytest.mark.parametrize("mode", [-1, 1, 3, 5])
def test_meta_of_routing_agrees(mode: int) -> None:
    experts = torch.tensor([[3, 0], [1, 3]], dtype=torch.int32)
    real = route(torch.randn(2, 96, dtype=BF16).npu(), experts.npu(), mode)
    meta = route(torch.randn(2, 96, dtype=BF16).to("meta"), experts.to("meta"), mode)
    assert [(r.shape, r.dtype) for r in real] == [(m.shape, m.dtype) for m in meta]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"drop_pad_mode": 1}, "drop_pad_mode 0"),
        ({"expert_tokens_num_type": 0}, "expert_tokens_num_type 1"),
        ({"expert_tokens_num_flag": False}, "expert_tokens_num_flag"),
        ({"quant_mode": 6}, "quant_mode from -1"),
        ({"quant_mode": 5, "group_size": 64}, "group_size of 128"),
    ],
)
def test_routing_names_the_option_it_refuses(change: dict[str, Any], text: str) -> None:
    x, experts = torch.zeros(2, 8, dtype=BF16).npu(), torch.zeros(2, 1, dtype=torch.int32).npu()
    with pytest.raises(ValueError, match=f"npu_moe_init_routing_group_quant: expected .*{text}"):
        route(x, experts, 3, **change)


@pytest.mark.parametrize("dtype", [torch.float16, BF16])
@pytest.mark.parametrize("element", [E4M3, E5M2])
@pytest.mark.parametrize("limit", [None, 1.5])
@pytest.mark.parametrize("shape", [(3, 512), (2, 2, 256), (0, 256)])
def test_swiglu_in_blocks_of_fp8(
    shape: tuple[int, ...], limit: float | None, element: torch.dtype, dtype: torch.dtype
) -> None:
    x = (torch.randn(shape) * 2).to(dtype)
    y, scale, origin = ops.npu_swiglu_group_quant(x.npu(), dst_type=element, clamp_limit=limit)
    want = extension.swiglu(x, limit)
    assert (y.shape, y.dtype) == (want.shape, element)
    assert scale.shape == (*shape[:-1], shape[-1] // 256)
    values = y.cpu().float() * scale.cpu().repeat_interleave(128, -1)
    step = 0.07 if element == E4M3 else 0.13
    torch.testing.assert_close(values, want, rtol=step, atol=1e-2)
    largest = {E4M3: 448.0, E5M2: 57344.0}[element]
    blocks = want.unflatten(-1, (-1, 128)).abs().amax(-1) / largest
    torch.testing.assert_close(scale.cpu(), blocks, rtol=1e-5, atol=0)
    assert_equal(origin, want.to(dtype))
    assert_meta_agrees(ops.npu_swiglu_group_quant, x, dst_type=element, clamp_limit=limit)


def test_swiglu_in_mx_rounds_scales_up_and_weighs_tokens() -> None:
    x, weight = torch.randn(4, 256, dtype=BF16), torch.rand(4)
    x[1] = 0
    y, scale, _ = ops.npu_swiglu_group_quant(
        x.npu(), weight=weight.npu(), dst_type=E4M3, quant_mode=1, round_scale=True
    )
    want = extension.swiglu(x) * weight[:, None]
    blocks = want.unflatten(-1, (4, 32)).abs().amax(-1).clamp_min(1e-4) / 448
    exponent = torch.ceil(torch.log2(blocks.double())).int() + 127
    assert scale.shape == (4, 2, 2)
    assert torch.equal(scale.cpu().view(torch.uint8).flatten(1).int(), exponent)
    powers = torch.exp2(exponent.float() - 127).repeat_interleave(32, -1)
    torch.testing.assert_close(y.cpu().float() * powers, want, rtol=0.07, atol=1e-3)
    assert not y[1].cpu().float().any()


def test_swiglu_in_fp4_is_packed() -> None:
    x = torch.randn(3, 256, dtype=BF16)
    y, scale, origin = ops.npu_swiglu_group_quant(
        x.npu(), dst_type=torch.float4_e2m1fn_x2, quant_mode=1, round_scale=True
    )
    want = extension.swiglu(x).to(BF16)
    elements, want_scale = quant.mx_quantize(want, -1, None)
    assert torch.equal(quant.decode_e2m1(y.cpu().view(torch.uint8)), elements)
    assert torch.equal(scale.cpu().view(torch.uint8), want_scale)
    assert (y.shape, origin.shape) == ((3, 64), (3, 64))


def test_rows_past_the_groups_are_zeros() -> None:
    x = torch.randn(6, 256, dtype=BF16)
    y, scale, origin = ops.npu_swiglu_group_quant(
        x.npu(), group_index=torch.tensor([1, 3]).npu(), dst_type=E4M3
    )
    for tensor in (y, scale, origin):
        assert not tensor[4:].cpu().float().any()
        assert tensor[:4].cpu().float().any(-1).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"x": torch.zeros(2, 256)}, "x of float16"),
        ({"x": torch.zeros(2, 128, dtype=BF16)}, "divisible by 256"),
        ({"dst_type": torch.int8}, "dst_type of float8"),
        ({"dst_type": torch.float4_e2m1fn_x2}, "dst_type of float8"),
        ({"quant_mode": 2}, "quant_mode 0"),
        ({"block_size": 32}, "block_size 0 or 128"),
        ({"round_scale": True}, "round_scale=False"),
        ({"quant_mode": 1}, "round_scale=True"),
        ({"weight": torch.zeros(3)}, "weight of 2"),
        ({"group_index": torch.tensor([3])}, "at most 2"),
        ({"group_index": torch.tensor([1], dtype=torch.int32)}, "group_index of int64"),
        ({"clamp_limit": -1.0}, "clamp_limit of 0"),
    ],
)
def test_swiglu_names_the_argument_it_refuses(change: dict[str, Any], text: str) -> None:
    arguments = {"x": torch.zeros(2, 256, dtype=BF16), "dst_type": E4M3} | change
    with pytest.raises((ValueError, TypeError), match=f"npu_swiglu_group_quant: expected .*{text}"):
        ops.npu_swiglu_group_quant(**on_npu(arguments))
