"""SwiGLU and GELU that end with a quantisation, against formulas in fp64."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import quant
from torch_npu_sim.testing.reference import quant_fusions as fusions

HALVES = [torch.float16, torch.bfloat16]
HIFLOAT8, FP4, E1M2 = 290, 296, 297


def assert_codes(codes: torch.Tensor, want: torch.Tensor) -> None:
    """Integers next to `want` (which is not rounded yet) within what fp32 leaves open."""
    assert codes.shape == want.shape
    low, high = codes.double() - 0.501, codes.double() + 0.501
    assert ((low <= want) & (want <= high)).all()


def assert_mx(npu: tuple[torch.Tensor, ...], want: tuple[torch.Tensor, ...], part: int = 0) -> None:
    """Equal codes and scales but for values that fp32 and fp64 round to different halves."""
    codes, scales = npu[part].cpu(), npu[part + 1].cpu()
    values = quant.decode_e2m1(codes) if codes.dtype == torch.uint8 else codes.float()
    assert (values.shape, scales.shape) == (want[0].shape, want[1].shape)
    assert (scales != want[1]).float().mean() < 0.01
    assert (values != want[0].float()).float().mean() < 0.01


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32])
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("shape", [(5, 16), (2, 3, 32), (1, 4), (0, 8)])
def test_swiglu_quant_returns_what_rows_were_multiplied_by(
    shape: tuple[int, ...], left: bool, dtype: torch.dtype
) -> None:
    x, smooth = torch.randn(shape).to(dtype), torch.rand(1, shape[-1] // 2) + 0.5
    options: dict[str, Any] = {"smooth_scales": smooth, "activate_left": left, "quant_mode": 1}
    y, scale = torch_npu_sim.npu_swiglu_quant(on_npu(x), **on_npu(options))
    rows = fusions.gated(x, left=left) * smooth.double()
    factor = 127 / rows.abs().amax(-1, keepdim=True).clamp_min(1e-8)
    assert (scale.shape, scale.dtype, y.dtype) == (shape[:-1], torch.float32, torch.int8)
    torch.testing.assert_close(scale.cpu().double(), factor.squeeze(-1), rtol=1e-5, atol=0)
    assert_codes(y.cpu(), rows * factor)
    assert_meta_agrees(torch.ops.npu.npu_swiglu_quant, x, **options)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("ends", [[2, 5, 6], [0, 0, 6], [1, 2, 4]])
def test_swiglu_quant_takes_the_scales_and_offsets_of_a_rows_group(
    ends: list[int], wide: bool, counts: bool
) -> None:
    x = torch.randn(6, 16)
    smooth, offsets = (
        (torch.rand(3, 8) * 9, torch.randn(3, 8))
        if wide
        else (
            torch.rand(3) * 9,
            torch.randn(3),
        )
    )
    index = torch.tensor(ends).diff(prepend=torch.tensor([0])) if counts else torch.tensor(ends)
    y, scale = torch_npu_sim.npu_swiglu_quant(
        on_npu(x),
        smooth_scales=on_npu(smooth),
        offsets=on_npu(offsets),
        group_index=on_npu(index.int()),
        group_list_type=int(counts),
    )
    want = fusions.gated(x, left=False)
    for row, group in enumerate(fusions.rows_of_groups(ends, 6)):
        if group >= 0:
            want[row] = want[row] * smooth[group] + offsets[group]
    assert_codes(y.cpu(), want.clamp(-128, 127))
    assert scale.cpu().tolist() == [0.0] * 6


def test_swiglu_quant_packs_two_int4_codes_to_a_byte() -> None:
    x = torch.randn(3, 20).half()
    y, scale = torch_npu_sim.npu_swiglu_quant(on_npu(x), quant_mode=1, dst_type=torch.quint4x2)
    rows = fusions.gated(x, left=False)
    assert (y.shape, y.dtype) == ((3, 5), torch.int8)
    assert_codes(fusions.pairs_of_int4(y.cpu()), rows * 7 / rows.abs().amax(-1, keepdim=True))
    assert_meta_agrees(torch.ops.npu.npu_swiglu_quant, x, quant_mode=1, dst_type=torch.quint4x2)


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("bias", [None, torch.int32, torch.float32])
@pytest.mark.parametrize("groups", [None, [2, 0, 3], [1, 1, 1]])
@pytest.mark.parametrize("code", [1, 292])
def test_dequant_swiglu_quant_is_its_formula(
    code: int, groups: list[int] | None, bias: torch.dtype | None, mode: int
) -> None:
    rows, columns = 5, 32
    count = 1 if groups is None else len(groups)
    x = torch.randint(-50, 50, (rows, columns), dtype=torch.int32)
    weight, token = torch.rand(count, columns) / 20, torch.rand(rows, 1) + 0.5
    shift = None if bias is None else (torch.randn(count, columns) * 9).to(bias)
    smooth = torch.rand(count, columns // 2) + 0.5
    options: dict[str, Any] = {
        "weight_scale": weight,
        "activation_scale": token,
        "bias": shift,
        "quant_scale": smooth,
        "group_index": None if groups is None else torch.tensor(groups),
        "activate_left": True,
        "quant_mode": 1,
        "dst_type": code,
        "swiglu_mode": mode,
    }
    y, scale = torch_npu_sim.npu_dequant_swiglu_quant(on_npu(x), **on_npu(options))
    ends = [rows] if groups is None else torch.tensor(groups).cumsum(0).tolist()
    of_row = fusions.rows_of_groups(ends, rows)
    covered = ends[-1]
    values = fusions.dequantise_swiglu(x[:covered], of_row[:covered], weight, token, shift)
    clip = None if mode == 0 else (7.0, 1.702, 1.0)
    product = fusions.gated(values, clip=clip, interleaved=mode == 1)
    product = product * torch.stack([smooth[group].double() for group in of_row[:covered]])
    largest = 127 if code == 1 else 448
    want_scale = product.abs().amax(-1) / largest
    torch.testing.assert_close(scale[:covered].cpu().double(), want_scale, rtol=1e-5, atol=0)
    want = product / want_scale.unsqueeze(-1)
    if code == 1:
        assert_codes(y[:covered].cpu(), want)
    else:
        assert (y[:covered].cpu().float() != want.float().to(y.dtype).float()).float().mean() < 0.02
    assert not y[covered:].cpu().float().any()
    assert not scale[covered:].cpu().any()
    assert_meta_agrees(torch.ops.npu.npu_dequant_swiglu_quant, x, **options)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_dequant_swiglu_quant_with_given_scales_halves_any_axis(
    dim: int, dtype: torch.dtype
) -> None:
    x = torch.randn(4, 6, 8).to(dtype)
    options = {
        "quant_scale": torch.tensor([0.05]),
        "quant_offset": torch.tensor([3.0]),
        "activate_dim": dim,
    }
    y, scale = torch_npu_sim.npu_dequant_swiglu_quant(on_npu(x), **on_npu(options))
    want = fusions.gated(x, left=False, dim=dim) / 0.05 + 3
    assert_codes(y.cpu(), want.clamp(-128, 127))
    assert (scale.shape, scale.cpu().any().item()) == (want.shape[:-1], False)
    assert_meta_agrees(torch.ops.npu.npu_dequant_swiglu_quant, x, **options)


@pytest.mark.parametrize(("round_mode", "want"), [(2, 1.5), (3, 2.0), (4, 1.5), (0, 1.5)])
def test_dequant_swiglu_quant_rounds_fp4_as_asked(round_mode: int, want: float) -> None:
    # silu(32) is 32 but for what fp16 does not see; 32 * 1.7 / 32 is between 1.5 and 2.
    x = torch.tensor([[1.7, 0.0, 32.0, 0.0]]).half()
    y, _ = torch_npu_sim.npu_dequant_swiglu_quant(
        on_npu(x), quant_scale=torch.tensor([32.0]).npu(), dst_type=FP4, round_mode=round_mode
    )
    assert quant.decode_e2m1(y.cpu()).tolist() == [[want, 0.0]]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("code", "alg"), [(24, 0), (24, 1), (23, 1), (FP4, 0)])
@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("groups", [None, [40, 0, 70]])
def test_swiglu_mx_quant_starts_blocks_anew_with_each_group(
    groups: list[int] | None, axis: int, code: int, alg: int, dtype: torch.dtype
) -> None:
    x = torch.randn(120, 144).to(dtype)
    index = None if groups is None else torch.tensor(groups)
    options: dict[str, Any] = {"group_index": index, "axis": axis, "dst_type": code}
    options |= {"scale_alg": alg, "activate_left": True}
    got = torch_npu_sim.npu_swiglu_mx_quant(on_npu(x), **on_npu(options))
    product = fusions.gated(x).to(dtype)
    element = {24: torch.float8_e4m3fn, 23: torch.float8_e5m2}.get(code)
    ends = [120] if groups is None else torch.tensor(groups).cumsum(0).tolist()
    if axis == -2 and groups is not None:
        want = fusions.mx_quantize_groups(product, ends, element, round_up=alg == 1, dense=True)
    else:
        product[ends[-1] :] = 0
        want = quant.mx_quantize(product, axis, element, round_up=alg == 1)
    assert_mx(got, want)
    assert_meta_agrees(torch.ops.npu.npu_swiglu_mx_quant, x, **options)


def test_swiglu_mx_quant_clips_gate_and_value_in_turn() -> None:
    x = (torch.randn(8, 128) * 9).bfloat16()
    got = torch_npu_sim.npu_swiglu_mx_quant(on_npu(x), swiglu_mode=1, dst_type=24, clamp_limit=5.0)
    product = fusions.gated(x, clip=(5.0, 1.702, 1.0), interleaved=True).bfloat16()
    assert_mx(got, quant.mx_quantize(product, -1, torch.float8_e4m3fn))


@pytest.mark.parametrize("groups", [None, [40, 40, 100]])
@pytest.mark.parametrize("left", [True, False])
def test_swiglu_mx_quant_with_dual_axis_is_one_along_each(
    left: bool, groups: list[int] | None
) -> None:
    x = torch.randn(100, 128).bfloat16()
    index = None if groups is None else torch.tensor(groups)
    options = {"group_index": index, "activate_left": left}
    got = torch_npu_sim.npu_swiglu_mx_quant_with_dual_axis(on_npu(x), **on_npu(options))
    product = fusions.gated(x, left=left).bfloat16()
    assert_mx(got, quant.mx_quantize(product, -1, torch.float8_e4m3fn, round_up=True))
    ends = [100] if groups is None else groups
    want = fusions.mx_quantize_groups(product, ends, torch.float8_e4m3fn, round_up=True)
    assert_mx(
        got,
        want if groups else quant.mx_quantize(product, 0, torch.float8_e4m3fn, round_up=True),
        2,
    )
    assert_meta_agrees(torch.ops.npu.npu_swiglu_mx_quant_with_dual_axis, x, **options)


def test_swiglu_mx_quant_with_dual_axis_answers_op_plugins_example() -> None:
    x = torch.ones(4, 8).bfloat16()
    y1, scale1, y2, scale2 = torch_npu_sim.npu_swiglu_mx_quant_with_dual_axis(
        on_npu(x), group_index=torch.tensor([2, 4]).npu()
    )
    assert y1.cpu().float().tolist() == [[384.0] * 4] * 4
    assert y2.cpu().float().tolist() == [[384.0] * 4] * 4
    assert scale1.cpu().tolist() == [[[118, 0]]] * 4
    assert scale2.cpu().tolist() == [[[118, 0]] * 4] * 2


def test_swiglu_backward_mx_quant_answers_op_plugins_example() -> None:
    x, grad = torch.ones(4, 64).bfloat16(), torch.ones(4, 32).bfloat16()
    y1, scale1, y2, scale2 = torch_npu_sim._npu_swiglu_backward_mx_quant_with_dual_axis(
        *on_npu((x, grad)), group_index=torch.tensor([2, 4]).npu()
    )
    assert y1.cpu().float().tolist() == [[240.0] * 32 + [384.0] * 32] * 4
    assert y2.cpu().float().tolist() == [[240.0] * 32 + [384.0] * 32] * 4
    assert scale1.cpu().tolist() == [[[119, 118]]] * 4
    assert scale2.cpu().tolist() == [[[119, 0]] * 32 + [[118, 0]] * 32] * 2


@pytest.mark.parametrize("left", [True, False])
def test_swiglu_backward_mx_quant_has_the_gates_gradient_first(left: bool) -> None:
    x, grad = torch.randn(40, 128).half(), torch.randn(40, 64).half()
    op = torch.ops.npu._npu_swiglu_backward_mx_quant_with_dual_axis
    got = op(*on_npu((x, grad)), activate_left=left)
    product = fusions.gated_grad(x, grad, left=left).half()
    assert_mx(got, quant.mx_quantize(product, -1, torch.float8_e4m3fn, round_up=True))
    assert_mx(got, quant.mx_quantize(product, 0, torch.float8_e4m3fn, round_up=True), 2)
    assert_meta_agrees(op, x, grad, activate_left=left)


@pytest.mark.parametrize("mode", [2, 3])
@pytest.mark.parametrize("groups", [None, [2, 0, 3], [4, 9]])
@pytest.mark.parametrize("weighted", [True, False])
def test_swiglu_group_quant_gives_a_group_one_scale(
    weighted: bool, groups: list[int] | None, mode: int
) -> None:
    x, weight = torch.randn(6, 16).bfloat16(), torch.rand(6, 1) if weighted else None
    count = 1 if groups is None else len(groups)
    options: dict[str, Any] = {
        "weight": weight,
        "group_index": None if groups is None else torch.tensor(groups),
        "scale": torch.rand(count) + 0.5,
        "quant_mode": mode,
        "clamp_limit": 1.0,
        "output_origin": True,
    }
    y, scale, origin = torch_npu_sim.npu_swiglu_group_quant(on_npu(x), **on_npu(options))
    cut = torch.cat([x[:, :8].clamp(max=1), x[:, 8:].clamp(-1, 1)], 1)
    rows = fusions.gated(cut) * (1 if weight is None else weight.double())
    ends = [6] if groups is None else torch.tensor(groups).cumsum(0).clamp(max=6).tolist()
    rows[ends[-1] :] = 0
    assert_equal(origin, rows.bfloat16())
    table, first = fusions.hifloat8_values(), 0
    for group, end in enumerate(ends):
        part = rows[first:end]
        largest = max(part.abs().max().item() if end > first else 0.0, 1e-8)
        factor = options["scale"][group].item() if mode == 2 else 15 / largest
        want = table[fusions.nearest_code(part.float() * factor, table, ties_away=True)]
        assert torch.equal(table[y[first:end].cpu().long()], want)
        if mode == 3:
            torch.testing.assert_close(scale[group].item(), largest / 15, rtol=1e-5, atol=0)
        first = end
    assert scale.shape == ((0,) if mode == 2 else (count,))
    assert_meta_agrees(torch.ops.npu.npu_swiglu_group_quant, x, **options)


@pytest.mark.parametrize("limit", [0.0, 0.7])
@pytest.mark.parametrize("groups", [None, [1, 2]])
def test_swiglu_group_quant_backward_is_the_gradient_of_the_weighted_product(
    groups: list[int] | None, limit: float
) -> None:
    x, grad = torch.randn(4, 2, 8), torch.randn(4, 2, 4)
    weight, origin = torch.rand(4, 2), torch.randn(4, 2, 4)
    options: dict[str, Any] = {
        "weight": weight,
        "y_origin": origin,
        "group_index": None if groups is None else torch.tensor(groups),
        "clamp_limit": limit,
    }
    op = torch.ops.npu.npu_swiglu_group_quant_backward
    got, weight_grad = op(*on_npu((grad, x)), **on_npu(options))
    wide = x.double().requires_grad_()
    gate, value = wide.chunk(2, -1)
    if limit > 0:
        gate, value = gate.clamp(max=limit), value.clamp(-limit, limit)
    product = torch.nn.functional.silu(gate) * value * weight.double().unsqueeze(-1)
    covered = 8 if groups is None else 3
    mask = (torch.arange(8) < covered).view(4, 2, 1)
    product.backward(grad.double() * mask)
    assert wide.grad is not None
    assert_equal(got, wide.grad.float())
    assert_equal(weight_grad, (grad * origin * mask).sum(-1))
    assert_meta_agrees(op, grad, x, **options)


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("scaled", [None, 1, 32])
def test_gelu_quant_gives_a_row_one_scale(
    scaled: int | None, approximate: str, dtype: torch.dtype
) -> None:
    x = torch.randn(3, 5, 32).to(dtype)
    scale = None if scaled is None else torch.rand(scaled).to(dtype) + 0.5
    options = {"input_scale": scale, "approximate": approximate}
    y, out_scale = torch_npu_sim.npu_gelu_quant(on_npu(x), **on_npu(options))
    want = torch.nn.functional.gelu(x.double(), approximate=approximate)
    want = want if scale is None else want * scale.double()
    want_scale = want.abs().amax(-1) / 127
    torch.testing.assert_close(out_scale.cpu().double(), want_scale, rtol=1e-5, atol=0)
    assert_codes(y.cpu(), want / want_scale.unsqueeze(-1))
    assert_meta_agrees(torch.ops.npu.npu_gelu_quant, x, **options)


def test_gelu_quant_with_given_scales_has_no_scale_of_its_own() -> None:
    x, scale, offset = torch.randn(4, 8).half(), torch.rand(8).half() * 20, torch.randn(8).half()
    y, out_scale = torch_npu_sim.npu_gelu_quant(
        *on_npu((x,)), input_scale=scale.npu(), input_offset=offset.npu(), quant_mode="static"
    )
    want = torch.nn.functional.gelu(x.double()) * scale.double() + offset.double()
    assert_codes(y.cpu(), want.clamp(-128, 127))
    assert out_scale is None


@pytest.mark.parametrize(
    ("op", "shape", "options", "error", "text"),
    [
        ("npu_swiglu_quant", (8,), {}, ValueError, "x of two axes or more"),
        ("npu_swiglu_quant", (2, 8194), {}, ValueError, "at most 8192"),
        ("npu_swiglu_quant", (2, 7), {}, ValueError, "an even size"),
        ("npu_swiglu_quant", (2, 8), {"quant_mode": 2}, ValueError, "quant_mode"),
        ("npu_swiglu_quant", (2, 8), {"group_list_type": 2}, ValueError, "group_list_type"),
        ("npu_swiglu_quant", (2, 8), {"dst_type": torch.half}, TypeError, "dst_type"),
        ("npu_swiglu_quant", (2, 6), {"dst_type": torch.quint4x2}, ValueError, "divisible by 4"),
        ("npu_swiglu_quant", (2, 8), {"smooth_scales": [1.0]}, ValueError, "smooth_scales and off"),
        ("npu_dequant_swiglu_quant", (2, 8), {}, ValueError, "quant_scale in quant_mode 0"),
        ("npu_dequant_swiglu_quant", (2, 8), {"swiglu_mode": 3}, ValueError, "swiglu_mode"),
        ("npu_dequant_swiglu_quant", (2, 8), {"clamp_limit": 0.0}, ValueError, "clamp_limit"),
        ("npu_dequant_swiglu_quant", (2, 8), {"activate_dim": 2}, IndexError, "activate_dim"),
        ("npu_dequant_swiglu_quant", (2, 8), {"weight_scale": [1.0]}, ValueError, "weight_scale"),
        ("npu_dequant_swiglu_quant", (2, 8), {"round_mode": 5}, ValueError, "round_mode"),
        ("npu_dequant_swiglu_quant", (2, 8), {"round_mode": 1}, ValueError, "round_mode"),
        ("npu_swiglu_mx_quant", (2, 8), {"axis": 2}, IndexError, "expected axis"),
        ("npu_swiglu_mx_quant", (2, 8), {"dst_type": 1}, ValueError, "dst_type of fp8 or fp4"),
        ("npu_swiglu_mx_quant", (2, 8), {"scale_alg": 1}, ValueError, "scale_alg"),
        ("npu_swiglu_mx_quant", (2, 8), {"group_mode": 2}, ValueError, "group_mode"),
        ("npu_swiglu_mx_quant", (2, 8), {"clamp_limit": -1.0}, ValueError, "clamp_limit"),
        ("npu_swiglu_mx_quant_with_dual_axis", (8,), {}, ValueError, "x of two axes or more"),
        ("npu_swiglu_group_quant", (2, 8), {"quant_mode": 0}, ValueError, "quant_mode 2"),
        ("npu_swiglu_group_quant", (2, 8), {"quant_mode": 2}, ValueError, "scale of one a group"),
        ("npu_gelu_quant", (8,), {}, ValueError, "two axes or more"),
        ("npu_gelu_quant", (2, 8), {"approximate": "erf"}, ValueError, "approximate"),
        ("npu_gelu_quant", (2, 8), {"quant_mode": "static"}, ValueError, "input_scale"),
        ("npu_gelu_quant", (2, 8), {"round_mode": "round"}, ValueError, "round_mode rint"),
        ("npu_gelu_quant", (2, 8), {"dst_type": FP4}, ValueError, "dst_type"),
    ],
)
def test_refusals_name_operator_and_argument(
    op: str, shape: tuple[int, ...], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    tensors = {
        name: torch.tensor(value).npu() if isinstance(value, list) else value
        for name, value in options.items()
    }
    with pytest.raises(error, match=f"{op}: .*{text}"):
        getattr(torch_npu_sim, op)(torch.ones(shape, device="npu").half(), **tensors)


@pytest.mark.parametrize("ends", [[3, 2], [2, 9], [-1, 2]])
def test_swiglu_quant_refuses_groups_that_are_not_in_order(ends: list[int]) -> None:
    x, smooth = torch.ones(4, 8).half(), torch.ones(2)
    with pytest.raises(ValueError, match="npu_swiglu_quant: expected group_index"):
        torch_npu_sim.npu_swiglu_quant(
            on_npu(x),
            smooth_scales=smooth.npu(),
            group_index=torch.tensor(ends).npu(),
            quant_mode=1,
        )


@pytest.mark.parametrize("rows", [64, 16])
def test_swiglu_mx_quant_moves_the_rows_of_its_groups(rows: int) -> None:
    x = torch.randn(64, 512, device="npu").half()
    index = torch.tensor([rows]).npu()
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_swiglu_mx_quant(x, group_index=index, dst_type=24)
    (kernel,) = trace.kernels
    assert kernel.bytes_read == (64 * 512 * 2 + 8) * rows // 64
    assert kernel.bytes_written == (64 * 256 + 64 * 8) * rows // 64
