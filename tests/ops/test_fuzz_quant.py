"""Generated calls of the quantisation operators: the formula's values, or an error of their own."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.reference import quant

REFUSALS = (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError)
SHAPES = st.lists(st.integers(0, 40), min_size=0, max_size=4).map(tuple)
DTYPES = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.int32])
CODES = st.sampled_from([1, 2, 15, 16, 23, 24, 285, 290, 291, 292, 296, 297, 300])
TORCH_CODES = {
    1: torch.int8,
    23: torch.float8_e5m2,
    291: torch.float8_e5m2,
    24: torch.float8_e4m3fn,
    292: torch.float8_e4m3fn,
}


def tensor(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 30).to(dtype)


def answer(op: str, x: torch.Tensor, **options: Any) -> tuple[torch.Tensor, ...] | None:
    """Results on the CPU, or None for a refusal that names the operator."""
    try:
        results = getattr(torch_npu_sim, op)(x.npu(), **options)
    except REFUSALS as error:
        assert op in str(error), error
        return None
    return tuple(result.cpu() for result in results)


@settings(max_examples=200, deadline=None)
@given(
    SHAPES,
    DTYPES,
    CODES,
    st.sampled_from(["pertoken", "perchannel", "pertensor", "perhead"]),
    st.integers(0, 99),
)
def test_dynamic_quant_answers_the_formula_or_refuses(
    shape: tuple[int, ...], dtype: torch.dtype, code: int, mode: str, seed: int
) -> None:
    x = tensor(shape, dtype, seed)
    got = answer("npu_dynamic_quant", x, dst_type=code, quant_mode=mode)
    if got is None or code not in TORCH_CODES:
        return
    axes = {"pertoken": (-1,), "perchannel": (-2,), "pertensor": tuple(range(x.dim()))}[mode]
    want, scale = quant.quantize(x, axes, TORCH_CODES[code])
    assert torch.equal(got[0].float(), want.float())
    assert torch.equal(got[1].flatten(), scale.flatten())


@settings(max_examples=200, deadline=None)
@given(
    SHAPES,
    DTYPES,
    CODES,
    st.integers(-4, 4),
    st.sampled_from([32, 64, 16, 0, 2048]),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_mx_quant_answers_the_formula_or_refuses(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    code: int,
    axis: int,
    block: int,
    alg: int,
    seed: int,
) -> None:
    x = tensor(shape, dtype, seed)
    options = {"dst_type": code, "axis": axis, "block_size": block, "scale_alg": alg}
    got = answer("npu_dynamic_mx_quant", x, **options)
    if got is None or code == 297 or x.numel() == 0:
        return
    element = None if code == 296 else TORCH_CODES[code]
    want, scale = quant.mx_quantize(x, axis, element, block, round_up=alg > 0)
    elements = quant.decode_e2m1(got[0]) if element is None else got[0].float()
    assert torch.equal(elements, want.float())
    assert torch.equal(got[1], scale)


@settings(max_examples=100, deadline=None)
@given(SHAPES, DTYPES, CODES, st.integers(-1, 50), st.integers(-1, 50), st.integers(0, 99))
def test_block_quant_answers_or_refuses(
    shape: tuple[int, ...], dtype: torch.dtype, code: int, rows: int, columns: int, seed: int
) -> None:
    x = tensor(shape, dtype, seed)
    options = {"dst_type": code, "row_block_size": rows, "col_block_size": columns}
    got = answer("npu_dynamic_block_quant", x, **options)
    if got is None or code not in TORCH_CODES:
        return
    scale = got[1].repeat_interleave(rows, -2)[..., : shape[-2], :]
    scale = scale.repeat_interleave(columns, -1)[..., : shape[-1]]
    ratio = torch.where(scale == 0, torch.zeros(()), x.float() / scale)
    largest = quant.LARGEST[TORCH_CODES[code]]
    assert (ratio.abs() <= largest * 1.000001).all()
    if code == 1:
        assert torch.equal(got[0].float(), ratio.round())


@settings(max_examples=100, deadline=None)
@given(SHAPES, DTYPES, CODES, st.integers(-4, 4), st.integers(0, 40), st.booleans())
def test_quantize_answers_or_refuses(
    shape: tuple[int, ...], dtype: torch.dtype, code: int, axis: int, n: int, divides: bool
) -> None:
    x, scales = tensor(shape, dtype, 1), torch.full((n,), 2.0)
    try:
        y = torch_npu_sim.npu_quantize(x.npu(), scales.npu(), None, code, axis, divides)
    except REFUSALS as error:
        assert "npu_quantize" in str(error), error
        return
    if code == 1:
        want = x.float() / 2 if divides else x.float() * 2
        assert torch.equal(y.cpu().float(), want.round().clamp(-128, 127))
