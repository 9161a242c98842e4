"""Generated calls of the quantised products: the formula's values, or an error of their own."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.reference import matmul

REFUSALS = (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError)
SIZES = st.integers(0, 9)
KINDS = st.sampled_from(["int8", "e4m3", "e5m2", "hif8"])
# Calls that the card takes come more often than others.
PAIRS = st.one_of(KINDS.map(lambda kind: (kind, kind)), st.tuples(KINDS, KINDS))
SELDOM = st.sampled_from([False] * 7 + [True])
HALVES = [torch.float16, torch.bfloat16]
OUTS = st.sampled_from([*HALVES * 4, None, torch.float32, torch.int32, 27, 300])
HIF8, E8M0 = 290, 293


def codes(kind: str, shape: tuple[int, ...]) -> torch.Tensor:
    if kind == "int8":
        return torch.randint(-128, 128, shape, dtype=torch.int8)
    if kind == "hif8":
        return torch.randint(0x08, 0x58, shape, dtype=torch.uint8)
    return torch.randn(shape).to(torch.float8_e4m3fn if kind == "e4m3" else torch.float8_e5m2)


def values(kind: str, tensor: torch.Tensor) -> torch.Tensor:
    return matmul.values(tensor, kind if kind in ("int8", "hif8") else "fp8")


def answer(op: str, *args: Any, **options: Any) -> torch.Tensor | None:
    """The result on the CPU, or None for a refusal that names the operator."""
    try:
        result: torch.Tensor = getattr(torch_npu_sim, op)(*on_npu(args), **on_npu(options))
    except REFUSALS as error:
        assert op in str(error), error
        return None
    return result.cpu()


def agree(got: torch.Tensor, want: torch.Tensor) -> None:
    """Within a rounding of the result's dtype; a rounded integer may fall to either side."""
    if not got.dtype.is_floating_point:
        assert ((got.double() - want.clamp(-(2.0**31), 2.0**31)).abs() <= 1.001).all()
        return
    rounding = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 1e-4}[got.dtype]
    torch.testing.assert_close(got.double(), want, rtol=rounding, atol=1e-3)


@settings(max_examples=300, deadline=None)
@given(
    shape=st.tuples(SIZES, SIZES, SIZES),
    kinds=PAIRS,
    scale_size=st.sampled_from([-1, -1, -1, 1, 1, 0]),
    token=st.sampled_from([None, None, -1, -1, -1, 1, 0]),
    bias=st.sampled_from([None, None, None, torch.int32, torch.float32, torch.bfloat16]),
    out=OUTS,
    wrong_k=SELDOM,
    seed=st.integers(0, 99),
)
def test_quant_matmul_answers_the_formula_or_refuses(
    shape: tuple[int, int, int],
    kinds: tuple[str, str],
    scale_size: int,
    token: int | None,
    bias: torch.dtype | None,
    out: Any,
    wrong_k: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    m, k, n = shape
    x1, x2 = codes(kinds[0], (m, k)), codes(kinds[1], (k + wrong_k, n))
    scale = torch.rand(n if scale_size < 0 else scale_size) / 64
    token_scale = None if token is None else torch.rand(m if token < 0 else token)
    added = None if bias is None else torch.randint(-9, 9, (n,)).to(bias)
    options: dict[str, Any] = {"pertoken_scale": token_scale, "bias": added, "output_dtype": out}
    if kinds[0] == "hif8":
        options["x1_dtype"] = HIF8
    if kinds[1] == "hif8":
        options["x2_dtype"] = HIF8
    got = answer("npu_quant_matmul", x1, x2, scale, **options)
    if got is None:
        return
    assert got.shape == (m, n)
    sums = matmul.product(values(kinds[0], x1), values(kinds[1], x2))
    if out == torch.int32:
        return agree(got, sums + (0 if added is None else added))
    factors = scale
    from_pipe = token is None and not (kinds[0] == "int8" and got.dtype == torch.bfloat16)
    if from_pipe:
        factors = torch.tensor([matmul.packed_factor(value) for value in scale.tolist()])
    before = added is not None and (added.dtype == torch.int32 or from_pipe)
    want = (sums + (added if before and added is not None else 0)) * factors.double()
    if token_scale is not None:
        want = want * token_scale.unsqueeze(-1)
    if added is not None and not before:
        want = want + added.double()
    agree(got, want.clamp(-128, 127) if got.dtype == torch.int8 else want)


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(SIZES, st.integers(0, 200), SIZES),
    group=st.sampled_from([0, 0, 32, 32, 64, 20, -32]),
    kind=st.sampled_from(["int8", "int8", "int4", "int4", "fp8", "bool"]),
    dtype=st.sampled_from([*HALVES * 3, torch.float32]),
    fits=st.sampled_from([True, True, True, False]),
    scale=st.sampled_from(["tensor", "channel", "group", "wrong"]),
    offset=st.booleans(),
    seed=st.integers(0, 99),
)
def test_weight_products_answer_the_formula_or_refuse(
    shape: tuple[int, int, int],
    group: int,
    kind: str,
    dtype: torch.dtype,
    fits: bool,
    scale: str,
    offset: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    m, k, n = shape
    weight = torch.randint(-128, 128, (k, n)).to(torch.int8)
    if kind == "int4":
        weight = torch.randint(-(2**31), 2**31, (k, n)).to(torch.int32)
    elif kind != "int8":
        weight = weight.to(torch.bool if kind == "bool" else torch.float8_e4m3fn)
    columns = n * 8 if kind == "int4" else n
    groups = -(-k // group) if group > 0 else 1
    if fits:
        scale = "group" if group > 0 else "channel"
    of_scale = {"tensor": (1,), "channel": (columns,), "group": (groups, columns), "wrong": (3, 1)}
    factors = torch.rand(of_scale[scale], dtype=dtype)
    shift = torch.randint(-4, 4, of_scale[scale]).to(dtype) if offset else None
    x = torch.randn(m, k, dtype=dtype)
    got = answer(
        "npu_weight_quant_batchmatmul",
        x,
        weight,
        factors,
        antiquant_offset=shift,
        antiquant_group_size=group,
    )
    if got is None:
        return
    whole = matmul.values(weight, kind)
    if group > 0:
        factors = matmul.spread(factors, 0, group, k)
        shift = None if shift is None else matmul.spread(shift, 0, group, k)
    rounded = ((whole + (0 if shift is None else shift)) * factors.double()).to(dtype)
    want = matmul.product(x, rounded)
    scale_of_sums = want.abs().max().item() if want.numel() else 0.0
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), want, rtol=8e-3, atol=1e-5 * scale_of_sums + 1e-5)


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 4), st.integers(0, 150), st.integers(0, 4)),
    short=SELDOM,
    kind=st.sampled_from(["e4m3", "e4m3", "e5m2", "e5m2", "int8"]),
    groups=st.sampled_from([None, [1, 1, 32], [1, 1, 32], [0, 0, 32], [1, 128, 128], [1, 1]]),
    dtypes=st.sampled_from([(E8M0, E8M0)] * 5 + [(E8M0, None), (None, E8M0), (None, None)]),
    out=OUTS,
    seed=st.integers(0, 99),
)
def test_mx_products_answer_the_formula_or_refuse(
    shape: tuple[int, int, int],
    short: bool,
    kind: str,
    groups: list[int] | None,
    dtypes: tuple[int | None, int | None],
    out: Any,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    m, k, n = shape
    x1, x2 = codes(kind, (m, k)), codes(kind, (k, n))
    count = max(0, -(-k // 64) - short)
    token = torch.randint(120, 134, (m, count, 2), dtype=torch.uint8)
    scale = torch.randint(120, 134, (-(-k // 64), n, 2), dtype=torch.uint8)
    got = answer(
        "npu_quant_matmul",
        x1,
        x2,
        scale,
        pertoken_scale=token,
        scale_dtype=dtypes[0],
        pertoken_scale_dtype=dtypes[1],
        group_sizes=groups,
        output_dtype=out,
    )
    if got is None:
        return
    a_scale = matmul.spread(torch.exp2(token.double() - 127).flatten(-2), -1, 32, k)
    b_scale = torch.exp2(scale.double() - 127).transpose(0, 1).flatten(-2)
    want = matmul.product(
        values(kind, x1), values(kind, x2), a_scale, matmul.spread(b_scale, -1, 32, k).t()
    )
    agree(got, want)
