"""Quantisation by groups of rows, squares, two levels, after rotations, and into a cache."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import quant
from torch_npu_sim.testing.reference import quant_fusions as fusions

HALVES = [torch.float16, torch.bfloat16]
CODES = {23: torch.float8_e5m2, 24: torch.float8_e4m3fn, 296: None}
HIFLOAT8, FP4, E1M2 = 290, 296, 297
ENDS = [[70, 70, 100], [100, 100, 100], [1, 33, 100], [10, 20, 30], [0, 0, 0]]


def values_of(codes: torch.Tensor) -> torch.Tensor:
    """The values of fp8 codes or of packed E2M1 codes."""
    codes = codes.cpu()
    return quant.decode_e2m1(codes) if codes.dtype == torch.uint8 else codes.float()


@pytest.mark.parametrize("code", [23, 24, 296])
@pytest.mark.parametrize("ends", ENDS)
def test_grouped_mx_quant_starts_blocks_anew_with_each_group(ends: list[int], code: int) -> None:
    x, index = torch.randn(100, 12).bfloat16(), torch.tensor(ends, dtype=torch.int32)
    y, scale = torch_npu_sim.npu_grouped_dynamic_mx_quant(*on_npu((x, index)), dst_type=code)
    want, want_scale = fusions.mx_quantize_groups(x, ends, CODES[code])
    assert torch.equal(values_of(y), want)
    assert torch.equal(scale.cpu(), want_scale)
    assert_meta_agrees(torch.ops.npu.npu_grouped_dynamic_mx_quant, x, index, dst_type=code)


def test_grouped_mx_quant_of_one_group_is_that_along_rows() -> None:
    x = torch.randn(64, 8).half()
    got = torch_npu_sim.npu_grouped_dynamic_mx_quant(
        on_npu(x), torch.tensor([64]).npu(), dst_type=24, scale_alg=1
    )
    want = torch_npu_sim.npu_dynamic_mx_quant(on_npu(x), axis=0, dst_type=24, scale_alg=1)
    assert torch.equal(got[0].cpu().float(), want[0].cpu().float())
    assert torch.equal(got[1][:1].cpu(), want[1].cpu())


@pytest.mark.parametrize("code", [23, 24, HIFLOAT8])
@pytest.mark.parametrize("rows", [1, 128])
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_grouped_block_quant_shares_a_scale_by_rectangle_of_a_group(
    batch: tuple[int, ...], ends: list[int], rows: int, code: int
) -> None:
    x, index = torch.randn(*batch, 100, 70).half(), torch.tensor(ends, dtype=torch.int32)
    options = {"dst_type": code, "row_block_size": rows, "col_block_size": 64}
    options["round_mode"] = "round" if code == HIFLOAT8 else "rint"
    y, scale = torch_npu_sim.npu_grouped_dynamic_block_quant(*on_npu((x, index)), **options)
    assert scale.shape == (*batch, 100 // rows + 3, 2)
    largest = {23: 57344.0, 24: 448.0, HIFLOAT8: 32768.0}[code]
    decoded = fusions.hifloat8_values()[y.cpu().long()] if code == HIFLOAT8 else y.cpu().float()
    first = 0
    for group, end in enumerate(ends):
        for block, start in enumerate(range(first, end, rows)):
            for j, columns in enumerate((slice(0, 64), slice(64, 70))):
                part = x[..., start : min(start + rows, end), columns].float()
                want = part.abs().amax((-1, -2)) / largest
                place = first // rows + group + block
                assert torch.equal(scale[..., place, j].cpu(), want)
                back = decoded[..., start : min(start + rows, end), columns]
                back = back * want[..., None, None]
                assert ((back - part).abs() <= part.abs() / 4 + want[..., None, None] / 64).all()
        first = end
    assert not decoded[..., first:, :].any()
    op = torch.ops.npu.npu_grouped_dynamic_block_quant
    assert_meta_agrees(op, x, index, **options)


def test_block_quants_keep_scales_below_the_inverse_of_min_scale() -> None:
    x = torch.tensor([[100.0, 448.0, -900.0]]).half()
    y, scale = torch_npu_sim.npu_grouped_dynamic_block_quant(
        on_npu(x), torch.tensor([1]).npu(), dst_type=24, min_scale=2.0
    )
    assert scale.cpu()[0].tolist() == [0.5]
    assert y.cpu().float().tolist() == [[192.0, 448.0, -448.0]]


@pytest.mark.parametrize("code", [23, 24, 296])
@pytest.mark.parametrize("shape", [(40, 70), (2, 33, 64), (1, 2), (0, 32)])
def test_block_mx_quant_shares_a_power_of_two_by_square(shape: tuple[int, ...], code: int) -> None:
    x = (torch.randn(shape) * torch.exp2(torch.randint(-5, 5, shape).float())).bfloat16()
    y, across, down = torch_npu_sim.npu_dynamic_block_mx_quant(on_npu(x), dst_type=code)
    rows, columns = shape[-2:]
    got = values_of(y)
    assert across.shape == (*shape[:-1], -(-columns // 64), 2)
    assert down.shape == (*shape[:-2], -(-rows // 64), columns, 2)
    along = across.cpu().flatten(-2)
    below = down.cpu().movedim(-1, -2).flatten(-3, -2)
    for i in range(0, rows, 32):
        for j in range(0, columns, 32):
            square = (..., slice(i, i + 32), slice(j, j + 32))
            part = x[square].float()
            want, scale = _one_block(part, CODES[code])
            assert torch.equal(got[square], want)
            assert (along[..., i : i + 32, j // 32] == scale[..., None]).all()
            assert (below[..., i // 32, j : j + 32] == scale[..., None]).all()
    assert_meta_agrees(torch.ops.npu.npu_dynamic_block_mx_quant, x, dst_type=code)


def _one_block(part: torch.Tensor, dtype: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor]:
    """MX of the last two axes as one block each."""
    rows = part.flatten(-2)
    elements, scale = quant.mx_quantize(rows, -1, dtype, max(rows.shape[-1], 1))
    return elements.float().view(part.shape), scale[..., 0, 0]


def test_block_mx_quant_with_a_range_lets_the_largest_value_fit() -> None:
    x = torch.tensor([[6.5, 1.0]]).half()
    y, across, _ = torch_npu_sim.npu_dynamic_block_mx_quant(on_npu(x), scale_alg=2, dst_type_max=6)
    assert (across[0, 0].cpu().tolist(), values_of(y).tolist()) == ([128, 0], [[3.0, 0.5]])
    y, across, _ = torch_npu_sim.npu_dynamic_block_mx_quant(on_npu(x), scale_alg=2, dst_type_max=7)
    assert (across[0, 0].cpu().tolist(), values_of(y).tolist()) == ([127, 0], [[6.0, 1.0]])


@pytest.mark.parametrize(("largest", "code"), [(6.0, 127), (6.01, 128), (7.0, 128), (3.0, 126)])
def test_mx_quant_with_scale_alg_2_rounds_the_ratio_to_six_up(largest: float, code: int) -> None:
    x = torch.full((1, 32), largest).half()
    _, scale = torch_npu_sim.npu_dynamic_mx_quant(on_npu(x), dst_type=FP4, scale_alg=2)
    assert scale.cpu().tolist() == [[[code, 0]]]


@pytest.mark.parametrize(("bound", "code"), [(448.0, 127), (100.0, 125), (0.5, 119)])
def test_mx_quant_takes_a_blocks_largest_value_to_be_at_least_the_bound(
    bound: float, code: int
) -> None:
    x = torch.ones(1, 32).half()
    y, scale = torch_npu_sim.npu_dynamic_mx_quant(
        on_npu(x), dst_type=24, scale_alg=1, max_low_bound=bound
    )
    assert scale.cpu().tolist() == [[[code, 0]]]
    assert (y.cpu().float() == 2.0 ** (127 - code)).all()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("shape", [(2, 1100), (1, 2), (3, 2, 512), (64,)])
def test_dual_level_mx_quant_scales_512_then_32_elements(
    shape: tuple[int, ...], smooth: bool, dtype: torch.dtype
) -> None:
    x = torch.randn(shape).to(dtype)
    factors = (torch.rand(shape[-1]) + 0.5).to(dtype) if smooth else None
    y, first, second = torch_npu_sim.npu_dynamic_dual_level_mx_quant(
        on_npu(x), smooth_scale=on_npu(factors)
    )
    wide = x.float() if factors is None else x.float() * factors.float()
    scales, rest = [], torch.zeros(shape)
    for start in range(0, shape[-1], 512):
        part = wide[..., start : start + 512]
        scales.append(part.abs().amax(-1) / 6)
        rest[..., start : start + 512] = part / scales[-1].unsqueeze(-1)
    want, want_scale = quant.mx_quantize(rest.to(dtype), -1, None)
    assert torch.equal(first.cpu(), torch.stack(scales, -1))
    assert torch.equal(values_of(y), want)
    assert torch.equal(second.cpu(), want_scale)
    op = torch.ops.npu.npu_dynamic_dual_level_mx_quant
    assert_meta_agrees(op, x, smooth_scale=factors)


def test_dual_level_mx_quant_answers_op_plugins_example() -> None:
    x = torch.full((1, 512), 8.0).bfloat16()
    y, first, second = torch_npu_sim.npu_dynamic_dual_level_mx_quant(on_npu(x))
    assert (y.cpu() == 0x77).all()
    assert (second.cpu() == 127).all()
    assert first.item() == pytest.approx(4 / 3)


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32])
@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("ends", [[2, 5, 6], [0, 6, 6], [1, 2, 4]])
def test_group_quant_takes_the_scales_of_a_rows_group(
    ends: list[int], offset: bool, dtype: torch.dtype
) -> None:
    x, scale = torch.randn(6, 16).to(dtype), (torch.rand(3, 16) * 60).to(dtype)
    index, shift = torch.tensor(ends, dtype=torch.int32), torch.tensor([2.5]).to(dtype)
    options = {"offset": shift if offset else None}
    y = torch_npu_sim.npu_group_quant(*on_npu((x, scale, index)), **on_npu(options))
    want = torch.zeros(6, 16).double()
    for row, group in enumerate(fusions.rows_of_groups(ends, 6)):
        if group >= 0:
            want[row] = x[row].double() * scale[group].double() + (2.5 if offset else 0)
    assert ((y.cpu().double() - want.clamp(-128, 127)).abs() <= 0.501).all()
    assert_meta_agrees(torch.ops.npu.npu_group_quant, x, scale, index, **options)


def test_group_quant_packs_eight_int4_codes_to_an_int32() -> None:
    x, scale = torch.arange(-4.0, 4.0).unsqueeze(0), torch.ones(1, 8)
    y = torch_npu_sim.npu_group_quant(
        *on_npu((x, scale, torch.tensor([1]))), dst_dtype=torch.quint4x2
    )
    assert y.cpu().tolist() == [[0x3210FEDC]]


@pytest.mark.parametrize("code", [torch.int8, torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("zeros", [True, False])
def test_quant_scatter_writes_codes_at_places_of_an_axis(
    zeros: bool, in_place: bool, pairs: bool, code: torch.dtype
) -> None:
    cache = torch.randn(4, 3, 10, 8).to(code)
    updates = torch.randn(2, 3, 2, 8).bfloat16()
    scales, points = torch.rand(8) + 0.5, torch.randint(-3, 3, (8,), dtype=torch.int32)
    begins = [3, 8]
    rows = [2, 0] if pairs else [0, 1]
    indices = torch.tensor(list(zip(rows, begins, strict=True)) if pairs else begins).int()
    moved = on_npu((cache, indices, updates, scales, points if zeros else None))
    op = torch_npu_sim.npu_quant_scatter_ if in_place else torch_npu_sim.npu_quant_scatter
    got = op(*moved, -2, dst_type=code)
    ratio = updates.float() / scales + (points if zeros else 0)
    codes = (ratio.round().clamp(-128, 127) if code == torch.int8 else ratio).to(code)
    want = cache.clone()
    for row, begin, update in zip(rows, begins, codes, strict=True):
        want[row, :, begin : begin + 2] = update
    assert torch.equal(got.cpu().float(), want.float())
    assert torch.equal(moved[0].cpu().float(), (want if in_place else cache).float())


def test_quant_scatter_writes_hifloat8_into_bytes() -> None:
    cache, indices = torch.zeros(1, 2, 3, dtype=torch.uint8), torch.tensor([1])
    updates = torch.tensor([[[1.0, 0.5, -1.0]]]).half()
    got = torch_npu_sim.npu_quant_scatter(
        *on_npu((cache, indices, updates, torch.ones(3))), dst_type=HIFLOAT8, round_mode="round"
    )
    table = fusions.hifloat8_values()
    assert table[got.cpu().long()].tolist() == [[[0.0, 0.0, 0.0], [1.0, 0.5, -1.0]]]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_kronecker_quant_gives_a_token_one_scale(clip: float | None, dtype: torch.dtype) -> None:
    x = torch.randn(3, 4, 8).to(dtype)
    p1, p2 = torch.randn(4, 4).to(dtype), torch.randn(8, 8).to(dtype)
    y, scale = torch_npu_sim.npu_kronecker_quant(*on_npu((x, p1, p2)), clip)
    half = (x.float() @ p2.float()).to(dtype)
    want = (p1.float() @ half.float()).to(dtype).float()
    want_scale = want.abs().amax((1, 2)) / 7 * (clip or 1)
    nibbles = (y.cpu().unsqueeze(-1) >> torch.arange(0, 32, 4)) & 15
    codes = torch.where(nibbles > 7, nibbles - 16, nibbles).flatten(-2)
    torch.testing.assert_close(scale.cpu(), want_scale, rtol=1e-2, atol=0)
    ratio = (want / want_scale.view(3, 1, 1)).clamp(-8, 7)
    assert ((codes - ratio).abs() <= 0.56).all()
    assert_meta_agrees(torch.ops.npu.npu_kronecker_quant, x, p1, p2, clip)


@pytest.mark.parametrize("right", [True, False])
def test_kronecker_quant_to_fp4_takes_a_token_as_one_row(right: bool) -> None:
    # Powers of two, whose products are exact.
    x = torch.exp2(torch.randint(-3, 3, (3, 2, 34)).float()).half()
    p1, p2 = torch.eye(2).flip(0).half(), torch.eye(34).half() if right else torch.ones(0, 0).half()
    y, scale = torch_npu_sim.npu_kronecker_quant(*on_npu((x, p1, p2)), dst_dtype=FP4)
    want, want_scale = quant.mx_quantize(x.flip(1).flatten(1), -1, None)
    assert torch.equal(values_of(y), want)
    assert torch.equal(scale.cpu(), want_scale)
    assert_meta_agrees(torch.ops.npu.npu_kronecker_quant, x, p1, p2, dst_dtype=FP4)


@pytest.mark.parametrize("alpha", [None, 0.5, 1.5])
@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("code", [23, 24, FP4])
def test_rotate_quant_is_the_mx_of_the_rotated_pieces(
    code: int, each: bool, alpha: float | None
) -> None:
    # Permutations, whose products are exact.
    x = torch.randn(3, 5, 128).bfloat16()
    rotations = torch.stack([torch.eye(64)[torch.randperm(64)] for _ in range(2)]).bfloat16()
    rotation = rotations if each else rotations[0]
    limit = None if alpha is None else torch.tensor([alpha]).bfloat16()
    options = {"dst_dtype": code, "alpha": limit}
    y, scale = torch_npu_sim.npu_rotate_quant(*on_npu((x, rotation)), **on_npu(options))
    pieces = x.float().unflatten(-1, (2, 1, 64))
    turned = (pieces @ rotation.float()).flatten(-3)
    if alpha == 0.5:
        blocks = turned.unflatten(-1, (4, 32))
        most = blocks.abs().amax(-1, keepdim=True) / 2
        turned = torch.maximum(torch.minimum(blocks, most), -most).flatten(-2)
    want, want_scale = quant.mx_quantize(turned.bfloat16(), -1, CODES[code])
    assert torch.equal(values_of(y), want.float())
    assert torch.equal(scale.cpu(), want_scale)
    assert_meta_agrees(torch.ops.npu.npu_rotate_quant, x, rotation, **options)


def call(op: str, **options: Any) -> Any:
    """The operator with arguments that fit, but for those in `options`."""
    x = torch.ones(4, 64).half()
    fitting: dict[str, dict[str, Any]] = {
        "npu_grouped_dynamic_mx_quant": {"x": x, "group_index": torch.tensor([4])},
        "npu_grouped_dynamic_block_quant": {"x": x, "group_list": torch.tensor([4])},
        "npu_dynamic_block_mx_quant": {"input": x},
        "npu_dynamic_dual_level_mx_quant": {"input": x},
        "npu_group_quant": {"x": x, "scale": x[:1], "group_index": torch.tensor([4])},
        "npu_quant_scatter": {
            "input": torch.zeros(2, 3, 4, dtype=torch.int8),
            "indices": torch.tensor([0, 2]),
            "updates": torch.ones(2, 1, 4).half(),
            "quant_scales": torch.ones(4),
        },
        "npu_kronecker_quant": {
            "x": torch.ones(2, 4, 8).half(),
            "kronecker_p1": torch.ones(4, 4).half(),
            "kronecker_p2": torch.ones(8, 8).half(),
        },
        "npu_rotate_quant": {"x": x, "rotation": torch.eye(32).half(), "dst_dtype": 24},
    }
    return getattr(torch_npu_sim, op)(**on_npu({**fitting[op], **options}))


@pytest.mark.parametrize(
    ("op", "options", "error", "text"),
    [
        ("npu_grouped_dynamic_mx_quant", {"blocksize": 64}, ValueError, "blocksize 32"),
        ("npu_grouped_dynamic_mx_quant", {"x": torch.ones(4).half()}, ValueError, "x of"),
        ("npu_grouped_dynamic_mx_quant", {"scale_alg": 2}, ValueError, "scale_alg"),
        (
            "npu_grouped_dynamic_mx_quant",
            {"dst_type": E1M2, "scale_alg": 2, "dst_type_max": 4.0},
            ValueError,
            "dst_type_max",
        ),
        ("npu_grouped_dynamic_mx_quant", {"group_index": torch.tensor([5])}, ValueError, "group_i"),
        ("npu_grouped_dynamic_mx_quant", {"group_index": torch.ones(1)}, TypeError, "group_index"),
        ("npu_grouped_dynamic_block_quant", {"row_block_size": 2}, ValueError, "row_block_size"),
        ("npu_grouped_dynamic_block_quant", {"col_block_size": 0}, ValueError, "col_block_size"),
        ("npu_grouped_dynamic_block_quant", {"dst_type": 1}, ValueError, "dst_type"),
        ("npu_grouped_dynamic_block_quant", {"dst_type": HIFLOAT8}, ValueError, "round_mode"),
        ("npu_grouped_dynamic_block_quant", {"group_list_type": 1}, ValueError, "group_list_type"),
        ("npu_grouped_dynamic_block_quant", {"dst_type_max": 9.0}, ValueError, "dst_type_max"),
        ("npu_dynamic_block_mx_quant", {"scale_alg": 1}, ValueError, "scale_alg"),
        ("npu_dynamic_block_mx_quant", {"input": torch.ones(4).half()}, ValueError, "input of 2"),
        ("npu_dynamic_block_mx_quant", {"dst_type_max": 8.0}, ValueError, "dst_type_max"),
        ("npu_dynamic_dual_level_mx_quant", {"round_mode": "ceil"}, ValueError, "round_mode"),
        (
            "npu_dynamic_dual_level_mx_quant",
            {"smooth_scale": torch.ones(2).half()},
            ValueError,
            "smooth_scale",
        ),
        ("npu_group_quant", {"dst_dtype": torch.half}, TypeError, "dst_dtype"),
        ("npu_group_quant", {"offset": torch.ones(2).half()}, ValueError, "offset"),
        ("npu_group_quant", {"scale": torch.ones(1, 2).half()}, ValueError, "scale of"),
        ("npu_quant_scatter", {"axis": 0}, IndexError, "axis"),
        ("npu_quant_scatter", {"quant_axis": 0}, ValueError, "quant_axis"),
        ("npu_quant_scatter", {"reduce": "add"}, ValueError, "reduce"),
        ("npu_quant_scatter", {"dst_type": 24}, TypeError, "input of Float8"),
        ("npu_quant_scatter", {"indices": torch.tensor([0, 3])}, IndexError, "indices"),
        ("npu_quant_scatter", {"indices": torch.tensor([0])}, ValueError, "indices"),
        ("npu_quant_scatter", {"round_mode": "round"}, ValueError, "round_mode rint"),
        ("npu_quant_scatter", {"quant_scales": torch.ones(3)}, ValueError, "quant_scales"),
        ("npu_kronecker_quant", {"clip_ratio": 0.0}, ValueError, "clip_ratio"),
        ("npu_kronecker_quant", {"dst_dtype": 24}, ValueError, "dst_dtype"),
        ("npu_kronecker_quant", {"dst_type_max": 6.0}, ValueError, "dst_type_max"),
        ("npu_kronecker_quant", {"kronecker_p1": torch.ones(2, 2).half()}, ValueError, "p1"),
        ("npu_rotate_quant", {"dst_dtype": None}, ValueError, "dst_dtype"),
        ("npu_rotate_quant", {"axis": 0}, ValueError, "axis"),
        ("npu_rotate_quant", {"rotation": torch.eye(16).half()}, ValueError, "rotation"),
        ("npu_rotate_quant", {"transpose_y": True}, ValueError, "transpose_y"),
        ("npu_rotate_quant", {"dst_dtype": FP4, "scale_alg": 2}, ValueError, "dst_type_max"),
        ("npu_rotate_quant", {"alpha": torch.ones(1)}, TypeError, "alpha"),
    ],
)
def test_refusals_name_operator_and_argument(
    op: str, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"{op}: .*{text}"):
        call(op, **options)


def test_rotate_quant_is_timed_as_a_product_and_a_quantisation() -> None:
    x, rotation = on_npu((torch.ones(64, 256).half(), torch.eye(64).half()))
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_rotate_quant(x, rotation, dst_dtype=24)
    product, quantisation = trace.kernels
    assert product.flops == 2 * 64 * 256 * 64
    assert quantisation.bytes_written == 64 * 256 + 64 * 8
