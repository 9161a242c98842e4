"""Generated calls of the fused quantisations: codes next to the formula's, or a refusal."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.reference import quant_fusions as fusions

REFUSALS = (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError)
SHAPES = st.lists(st.integers(0, 70), min_size=0, max_size=3).map(tuple)
DTYPES = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.int32])
CODES = st.sampled_from([None, 1, 3, 15, 16, 23, 24, 285, 290, 291, 292, 296, 297, 300])
GROUPS = st.none() | st.lists(st.integers(-2, 40), max_size=4)


def tensor(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 3).to(dtype)


def answer(op: str, *arguments: Any, **options: Any) -> tuple[torch.Tensor | None, ...] | None:
    """Results on the CPU, or None for a refusal that names the operator."""
    try:
        results = getattr(torch.ops.npu, op)(*on_npu(arguments), **on_npu(options))
    except REFUSALS as error:
        assert op in str(error), error
        return None
    results = results if isinstance(results, tuple) else (results,)
    return tuple(result if result is None else result.cpu() for result in results)


def integers(values: list[int] | None) -> torch.Tensor | None:
    return None if values is None else torch.tensor(values, dtype=torch.long)


@settings(max_examples=100, deadline=None)
@given(SHAPES, DTYPES, GROUPS, st.booleans(), st.integers(-1, 2), st.integers(0, 1), st.integers())
def test_swiglu_quant_answers_or_refuses(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    groups: list[int] | None,
    left: bool,
    mode: int,
    kind: int,
    seed: int,
) -> None:
    x = tensor(shape, dtype, seed % 99)
    smooth = torch.rand(1 if groups is None else len(groups)) + 0.5
    options: dict[str, Any] = {"smooth_scales": smooth, "group_index": integers(groups)}
    options |= {"activate_left": left, "quant_mode": mode, "group_list_type": kind}
    got = answer("npu_swiglu_quant", x, **options)
    if got is None or groups is not None or mode != 1:
        return
    assert got[0] is not None and got[1] is not None
    rows = fusions.gated(x, left=left) * smooth.item()
    factor = 127 / rows.abs().amax(-1, keepdim=True).clamp_min(1e-8)
    assert ((got[0].double() - rows * factor).abs() <= 0.51).all()


@settings(max_examples=100, deadline=None)
@given(SHAPES, DTYPES, CODES, GROUPS, st.integers(-4, 3), st.integers(0, 3), st.integers(0, 5))
def test_dequant_swiglu_quant_answers_or_refuses(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    code: int | None,
    groups: list[int] | None,
    dim: int,
    glu: int,
    rounding: int,
) -> None:
    x = tensor(shape, dtype, 1)
    count = 1 if groups is None else len(groups)
    scale = torch.ones(count, shape[-1] if shape else 1) if dtype == torch.int32 else None
    options: dict[str, Any] = {"weight_scale": scale, "group_index": integers(groups)}
    options |= {"dst_type": code, "swiglu_mode": glu, "round_mode": rounding}
    got = answer("npu_dequant_swiglu_quant", x, activate_dim=dim, quant_mode=1, **options)
    if got is None or code not in (None, 1) or groups is not None or glu > 1 or x.numel() == 0:
        return
    assert got[0] is not None and got[1] is not None
    clip = None if glu == 0 else (7.0, 1.702, 1.0)
    rows = fusions.gated(x, left=False, dim=dim, clip=clip, interleaved=glu == 1)
    scales = rows.abs().amax(-1, keepdim=True) / 127
    ratio = torch.where(scales == 0, torch.zeros(()).double(), rows / scales)
    assert ((got[0].double() - ratio).abs() <= 0.51).all()


@settings(max_examples=100, deadline=None)
@given(SHAPES, DTYPES, CODES, GROUPS, st.integers(-3, 2), st.integers(-3, 2), st.integers(0, 2))
def test_swiglu_mx_quant_answers_or_refuses(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    code: int | None,
    groups: list[int] | None,
    dim: int,
    axis: int,
    alg: int,
) -> None:
    x = tensor(shape, dtype, 2)
    options: dict[str, Any] = {"group_index": integers(groups), "activate_dim": dim, "axis": axis}
    got = answer("npu_swiglu_mx_quant", x, dst_type=code or 24, scale_alg=alg, **options)
    if got is None:
        return
    assert got[0] is not None and got[1] is not None
    half = [size // 2 if i == dim % len(shape) else size for i, size in enumerate(shape)]
    packed = 2 if code in (296, 297) else 1
    assert got[0].shape == (*half[:-1], half[-1] // packed)
    assert got[1].shape[-1] == 2


@settings(max_examples=60, deadline=None)
@given(SHAPES, DTYPES, CODES, GROUPS, st.sampled_from([1, 128, 3]), st.sampled_from([64, 128, 0]))
def test_grouped_quants_answer_or_refuse(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    code: int | None,
    groups: list[int] | None,
    rows: int,
    columns: int,
) -> None:
    x, index = tensor(shape, dtype, 3), torch.tensor(groups or [], dtype=torch.int32)
    options = {"row_block_size": rows, "col_block_size": columns, "dst_type": code or 24}
    got = answer("npu_grouped_dynamic_block_quant", x, index, **options)
    if got is not None:
        assert got[0] is not None and got[0].shape == shape
    answer("npu_grouped_dynamic_mx_quant", x, index, dst_type=code or 24)
    answer("npu_group_quant", x, torch.ones(len(index), shape[-1] if shape else 1), index)
    answer("npu_dynamic_block_mx_quant", x, dst_type=code or 24)
    answer("npu_dynamic_dual_level_mx_quant", x)


@settings(max_examples=60, deadline=None)
@given(SHAPES, DTYPES, CODES, CODES)
def test_casts_and_norms_answer_or_refuse(
    shape: tuple[int, ...], dtype: torch.dtype, code: int | None, source: int | None
) -> None:
    x = tensor(shape, dtype, 4)
    got = answer("npu_dtype_cast", x, code or 6, source)
    if got is not None and code in (15, 3) and source is None:
        assert got[0] is not None
        assert torch.equal(got[0], x.to(torch.bfloat16 if code == 15 else torch.int32))
    answer("npu_dtype_cast", tensor(shape, torch.uint8, 4), code or 6, source)
    gamma = torch.ones(shape[-1:]).to(dtype)
    answer("npu_rms_norm_quant_v2", x, gamma, torch.ones(1), dst_dtype=code)
    answer("npu_add_rms_norm_quant", x, x, gamma, torch.ones(shape[-1:]), None, dst_type=code)
    answer("npu_add_rms_norm_dynamic_quant", x, x, gamma, y_dtype=code)
    answer("npu_gelu_quant", x, dst_type=code)
