"""Quantisation with scales from the values themselves, against formulas in plain torch."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import quant

HALVES = [torch.float16, torch.bfloat16]
CODES = [torch.int8, torch.float8_e4m3fn, torch.float8_e5m2]
INT4, HIFLOAT8, FP4 = 16, 290, 296


def assert_same(npu: torch.Tensor, reference: torch.Tensor) -> None:
    """Same shape, dtype and bits (values of zero may differ in sign)."""
    assert (npu.shape, npu.dtype) == (reference.shape, reference.dtype)
    assert torch.equal(npu.cpu().float(), reference.float())


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 64), (1, 1), (0, 8)])
def test_dynamic_quant_maps_the_largest_of_a_token_to_the_largest_code(
    shape: tuple[int, ...], code: torch.dtype, dtype: torch.dtype
) -> None:
    x = torch.randn(shape).to(dtype)
    y, scale = torch_npu_sim.npu_dynamic_quant(on_npu(x), dst_type=code)
    want, want_scale = quant.quantize(x, (-1,), code)
    assert_same(y, want)
    assert_same(scale, want_scale.squeeze(-1))
    assert_meta_agrees(torch.ops.npu.npu_dynamic_quant, x, dst_type=code)


@pytest.mark.parametrize(
    ("mode", "axes", "shape"),
    [("perchannel", (-2,), (2, 5, 8)), ("pertensor", (0, 1, 2), (2, 5, 8))],
)
def test_dynamic_quant_shares_scales_by_its_mode(
    mode: str, axes: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape).half()
    y, scale = torch_npu_sim.npu_dynamic_quant(on_npu(x), quant_mode=mode)
    want, want_scale = quant.quantize(x, axes, torch.int8)
    assert_same(y, want)
    assert_same(scale, want_scale.reshape(1) if mode == "pertensor" else want_scale.squeeze(-2))
    assert_meta_agrees(torch.ops.npu.npu_dynamic_quant, x, quant_mode=mode)


def test_dynamic_quant_gives_a_token_of_zeros_scale_and_codes_of_zero() -> None:
    x = torch.zeros(2, 8).half()
    y, scale = torch_npu_sim.npu_dynamic_quant(on_npu(x), dst_type=torch.float8_e4m3fn)
    assert_same(y, torch.zeros(2, 8).to(torch.float8_e4m3fn))
    assert_same(scale, torch.zeros(2))


def test_dynamic_quant_multiplies_by_smooth_scales_first() -> None:
    x, smooth = torch.randn(4, 16).half(), torch.rand(16).half()
    y, scale = torch_npu_sim.npu_dynamic_quant(on_npu(x), smooth_scales=on_npu(smooth))
    want, want_scale = quant.quantize(x.float() * smooth.float(), (-1,), torch.int8)
    assert_same(y, want)
    assert_same(scale, want_scale.squeeze(-1))


@pytest.mark.parametrize("ends", [[2, 5, 6], [0, 0, 6], [6, 6, 6], [1, 2, 4]])
def test_dynamic_quant_takes_the_smooth_scales_of_a_tokens_group(ends: list[int]) -> None:
    x, smooth = torch.randn(6, 16).bfloat16(), torch.rand(3, 16).bfloat16()
    index = torch.tensor(ends, dtype=torch.int32)
    y, scale = torch_npu_sim.npu_dynamic_quant(
        on_npu(x), smooth_scales=on_npu(smooth), group_index=on_npu(index)
    )
    want, want_scale = quant.quantize(quant.smooth_by_group(x, smooth, index), (-1,), torch.int8)
    assert_same(y, want)
    assert_same(scale, want_scale.squeeze(-1))
    assert_meta_agrees(torch.ops.npu.npu_dynamic_quant, x, smooth_scales=smooth, group_index=index)


@pytest.mark.parametrize("ends", [[3, 2, 6], [-1, 2, 6], [2, 5, 7]])
def test_dynamic_quant_refuses_groups_that_are_not_in_order(ends: list[int]) -> None:
    x, smooth = torch.randn(6, 16).half(), torch.rand(3, 16).half()
    with pytest.raises(ValueError, match="npu_dynamic_quant: expected group_index"):
        torch_npu_sim.npu_dynamic_quant(
            on_npu(x), smooth_scales=on_npu(smooth), group_index=torch.tensor(ends).npu()
        )


def test_dynamic_quant_packs_eight_int4_codes_to_an_int32() -> None:
    x = torch.randn(3, 16).half()
    y, scale = torch_npu_sim.npu_dynamic_quant(on_npu(x), dst_type=torch.quint4x2)
    assert (y.shape, y.dtype) == ((3, 2), torch.int32)
    nibbles = (y.cpu().unsqueeze(-1) >> torch.arange(0, 32, 4)) & 15
    codes = torch.where(nibbles > 7, nibbles - 16, nibbles).flatten(-2)
    want = x.float().abs().amax(-1) / 7
    assert torch.equal(scale.cpu(), want)
    assert torch.equal(codes.float(), (x.float() / want.unsqueeze(-1)).round())


def test_dynamic_quant_gives_hifloat8_in_bytes() -> None:
    x = torch.tensor([[1.0, 0.5, -1.0, 0.0]]).half()
    y, scale = torch_npu_sim.npu_dynamic_quant(on_npu(x), dst_type=HIFLOAT8)
    assert_same(scale, torch.tensor([2.0**-15]))
    # 2^15 is 0x6E, 2^14 the code two below it (a mantissa of one bit), negative: 0x80 above.
    assert y.cpu().tolist() == [[0x6E, 0x6C, 0xEE, 0x00]]


@pytest.mark.parametrize("mode", ["pertoken", "perchannel", "pertensor"])
def test_dynamic_quant_asymmetric_spans_the_codes_from_least_to_largest(mode: str) -> None:
    x = torch.randn(4, 16).half()
    y, scale, offset = torch_npu_sim.npu_dynamic_quant_asymmetric(on_npu(x), quant_mode=mode)
    axes = {"pertoken": (1,), "perchannel": (0,), "pertensor": (0, 1)}[mode]
    wide = x.float()
    want_scale = (wide.amax(axes, True) - wide.amin(axes, True)) / 255
    want_offset = 127 - wide.amax(axes, True) / want_scale
    assert torch.equal(scale.cpu(), want_scale.flatten())
    assert torch.equal(offset.cpu(), want_offset.flatten())
    want = (wide / want_scale + want_offset).round().clamp(-128, 127)
    assert_same(y, want.to(torch.int8))
    assert_meta_agrees(torch.ops.npu.npu_dynamic_quant_asymmetric, x, quant_mode=mode)


@pytest.mark.parametrize("code", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("shape", [(3, 64), (2, 5, 100), (1, 1), (4, 33), (0, 64)])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("alg", [0, 1])
def test_mx_quant_shares_a_power_of_two_by_block(
    alg: int, axis: int, shape: tuple[int, ...], code: torch.dtype
) -> None:
    if shape[axis] == 0:
        pytest.skip("the reference has no largest value of an empty axis")
    x = (torch.randn(shape) * torch.exp2(torch.randint(-9, 9, shape).float())).bfloat16()
    y, scale = torch_npu_sim.npu_dynamic_mx_quant(
        on_npu(x), axis=axis, dst_type=code, scale_alg=alg
    )
    want, want_scale = quant.mx_quantize(x, axis, code, round_up=alg == 1)
    assert_same(y, want)
    assert_same(scale, want_scale)
    assert_meta_agrees(torch.ops.npu.npu_dynamic_mx_quant, x, axis=axis, dst_type=code)


@pytest.mark.parametrize("shape", [(3, 64), (2, 5, 100), (4, 34)])
@pytest.mark.parametrize("axis", [-1, -2])
def test_mx_quant_packs_fp4_by_pairs_of_the_last_axis(axis: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape).half()
    y, scale = torch_npu_sim.npu_dynamic_mx_quant(on_npu(x), axis=axis, dst_type=FP4)
    want, want_scale = quant.mx_quantize(x, axis, None)
    assert (y.shape, y.dtype) == ((*shape[:-1], shape[-1] // 2), torch.uint8)
    assert torch.equal(quant.decode_e2m1(y.cpu()), want)
    assert_same(scale, want_scale)
    assert_meta_agrees(torch.ops.npu.npu_dynamic_mx_quant, x, axis=axis, dst_type=FP4)


@pytest.mark.parametrize("block", [64, 128])
def test_mx_quant_takes_longer_blocks(block: int) -> None:
    x = torch.randn(3, 300).bfloat16()
    y, scale = torch_npu_sim.npu_dynamic_mx_quant(on_npu(x), dst_type=24, block_size=block)
    want, want_scale = quant.mx_quantize(x, -1, torch.float8_e4m3fn, block)
    assert_same(y, want)
    assert_same(scale, want_scale)


def test_mx_quant_comes_back_within_half_a_step_of_the_format() -> None:
    x = torch.randn(8, 256).bfloat16()
    y, scale = torch_npu_sim.npu_dynamic_mx_quant(on_npu(x), dst_type=24, scale_alg=1)
    back = quant.mx_dequantize(y.cpu(), scale.cpu(), -1)
    # Three bits of mantissa: half a step is 2^-4 of the value, or of the block's least normal one.
    least = torch.exp2(scale.cpu().float().flatten(-2) - 127 - 6).repeat_interleave(32, -1)
    assert ((back - x.float()).abs() <= torch.maximum(x.float().abs(), least) / 16).all()


def test_mx_quant_marks_a_block_that_holds_no_number() -> None:
    x = torch.ones(1, 96).bfloat16()
    x[0, 40], x[0, 70] = float("nan"), float("inf")
    y, scale = torch_npu_sim.npu_dynamic_mx_quant(on_npu(x), dst_type=24)
    assert scale.cpu().tolist() == [[[119, 255], [255, 0]]]
    assert y.cpu().float().isnan().tolist() == [[False] * 32 + [True] * 64]


def test_mx_quant_of_every_float16_is_what_torch_casts() -> None:
    """One value a block, so that every element stands where its block's scale puts it."""
    bits = torch.arange(0x7C00, dtype=torch.int32).to(torch.int16)
    x = bits.view(torch.float16).unsqueeze(-1)
    for code in (torch.float8_e4m3fn, torch.float8_e5m2):
        y, scale = torch_npu_sim.npu_dynamic_mx_quant(on_npu(x), dst_type=code)
        want, want_scale = quant.mx_quantize(x, -1, code)
        assert_same(y, want)
        assert_same(scale, want_scale)


def test_mx_quant_along_both_axes_is_one_along_each() -> None:
    x = torch.randn(2, 40, 70).bfloat16()
    got = torch_npu_sim.npu_dynamic_mx_quant_with_dual_axis(on_npu(x), dst_type=24)
    last = torch_npu_sim.npu_dynamic_mx_quant(on_npu(x), axis=-1, dst_type=24)
    before = torch_npu_sim.npu_dynamic_mx_quant(on_npu(x), axis=-2, dst_type=24)
    for npu, want in zip(got, (*last, *before), strict=True):
        assert_same(npu, want.cpu())
    assert_meta_agrees(torch.ops.npu.npu_dynamic_mx_quant_with_dual_axis, x, dst_type=24)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("rows", "columns"), [(1, 128), (128, 128), (2, 3)])
@pytest.mark.parametrize("shape", [(5, 200), (2, 130, 128), (1, 1), (0, 128)])
def test_block_quant_shares_a_scale_by_rectangle(
    shape: tuple[int, ...], rows: int, columns: int, code: torch.dtype
) -> None:
    x = torch.randn(shape).bfloat16()
    options = {"dst_type": code, "row_block_size": rows, "col_block_size": columns}
    y, scale = torch_npu_sim.npu_dynamic_block_quant(on_npu(x), **options)
    down, across = -(-shape[-2] // rows), -(-shape[-1] // columns)
    assert scale.shape == (*shape[:-2], down, across)
    for i in range(down):
        for j in range(across):
            part = (..., slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns))
            want, want_scale = quant.quantize(x[part], (-2, -1), code)
            assert_same(y[part], want)
            assert_same(scale[..., i, j], want_scale[..., 0, 0])
    assert_meta_agrees(torch.ops.npu.npu_dynamic_block_quant, x, **options)


def test_block_quant_keeps_scales_below_the_inverse_of_min_scale() -> None:
    x = torch.tensor([[100.0, 254.0]]).half()
    y, scale = torch_npu_sim.npu_dynamic_block_quant(on_npu(x), min_scale=0.5)
    assert_same(scale, torch.tensor([[2.0]]))
    assert_same(y, torch.tensor([[50, 127]], dtype=torch.int8))
    y, scale = torch_npu_sim.npu_dynamic_block_quant(on_npu(x), min_scale=1.0)
    assert_same(scale, torch.tensor([[1.0]]))
    assert_same(y, torch.tensor([[100, 127]], dtype=torch.int8))


@pytest.mark.parametrize(
    ("op", "shape", "options", "error", "text"),
    [
        ("npu_dynamic_quant", (8,), {}, ValueError, "input of two axes or more"),
        ("npu_dynamic_quant", (2, 0), {}, ValueError, "elements along the axes"),
        ("npu_dynamic_quant", (2, 8), {"dst_type": 15}, ValueError, "dst_type of int8"),
        ("npu_dynamic_quant", (2, 8), {"dst_type": FP4}, ValueError, "npu_dynamic_mx_quant"),
        ("npu_dynamic_quant", (2, 6), {"dst_type": INT4}, ValueError, "divisible by 8"),
        ("npu_dynamic_quant", (2, 8), {"quant_mode": "x"}, ValueError, "expected quant_mode"),
        ("npu_dynamic_mx_quant", (2, 8), {"axis": 2}, IndexError, "expected axis in"),
        ("npu_dynamic_mx_quant", (2, 7), {}, ValueError, "divisible by 2"),
        ("npu_dynamic_mx_quant", (2, 8), {"block_size": 48}, ValueError, "expected block_size"),
        ("npu_dynamic_mx_quant", (2, 8), {"dst_type": 1}, ValueError, "dst_type of fp8 or fp4"),
        ("npu_dynamic_mx_quant", (2, 8), {"scale_alg": 3}, ValueError, "expected scale_alg"),
        ("npu_dynamic_mx_quant", (2, 8), {"scale_alg": 1}, ValueError, "scale_alg 0 or 2"),
        ("npu_dynamic_mx_quant", (2, 8), {"dst_type_max": 6.0}, ValueError, "dst_type_max 0"),
        ("npu_dynamic_mx_quant", (2, 8), {"max_low_bound": 1.0}, ValueError, "max_low_bound"),
        ("npu_dynamic_mx_quant", (2, 8), {"round_mode": "ceil"}, ValueError, "round_mode"),
        ("npu_dynamic_block_quant", (8,), {}, ValueError, "x of 2 or 3 axes"),
        ("npu_dynamic_block_quant", (2, 8), {"dst_type": INT4}, ValueError, "dst_type of int8"),
        ("npu_dynamic_block_quant", (2, 8), {"row_block_size": 0}, ValueError, "row_block_size"),
        ("npu_dynamic_block_quant", (2, 8), {"min_scale": -1.0}, ValueError, "min_scale"),
    ],
)
def test_refusals_name_operator_and_argument(
    op: str, shape: tuple[int, ...], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"{op}: .*{text}"):
        getattr(torch_npu_sim, op)(torch.ones(shape, device="npu").half(), **options)
