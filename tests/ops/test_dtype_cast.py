"""npu_dtype_cast: every code of every format, every float16, and the gradient."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import quant
from torch_npu_sim.testing.reference import quant_fusions as fusions

INT4, HIFLOAT8, E5M2, E4M3, FP4, E1M2 = 285, 290, 291, 292, 296, 297
E1M2_VALUES = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def every_half() -> torch.Tensor:
    """All 2^16 float16 values."""
    return torch.arange(-0x8000, 0x8000, dtype=torch.int32).to(torch.int16).view(torch.float16)


def table_of(code: int) -> torch.Tensor:
    """The values of a format by code."""
    if code == HIFLOAT8:
        return fusions.hifloat8_values()
    values = quant.E2M1_VALUES if code == FP4 else E1M2_VALUES
    return torch.tensor(values + [-value for value in values])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int32])
@pytest.mark.parametrize("target", [torch.float16, torch.float32, torch.int8, torch.bool])
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 2)])
def test_cast_to_torchs_dtypes_is_to(
    shape: tuple[int, ...], target: torch.dtype, dtype: torch.dtype
) -> None:
    x = (torch.randn(shape) * 3).to(dtype)
    assert_equal(torch_npu_sim.npu_dtype_cast(on_npu(x), target), x.to(target))
    assert_equal(torch_npu_sim._npu_dtype_cast(on_npu(x), target), x.to(target))
    assert_meta_agrees(torch.ops.npu.npu_dtype_cast, x, target)


@pytest.mark.parametrize(("code", "dtype"), [(E5M2, torch.float8_e5m2), (23, torch.float8_e5m2)])
def test_cast_to_fp8_is_torchs_by_either_number(code: int, dtype: torch.dtype) -> None:
    x = every_half()
    y = torch_npu_sim.npu_dtype_cast(on_npu(x), code).cpu()
    assert y.dtype == dtype
    assert torch.equal(y.view(torch.uint8), x.to(dtype).view(torch.uint8))


def test_cast_of_a_dtype_to_itself_is_a_copy() -> None:
    x = torch.ones(3, device="npu")
    y = torch_npu_sim.npu_dtype_cast(x, torch.float32)
    y += 1
    assert x.cpu().tolist() == [1.0] * 3


def test_cast_of_every_float16_to_hifloat8_is_the_nearest_by_the_papers_fields() -> None:
    x = every_half()
    x = x[x.isfinite() & (x.abs() < 40960)]
    y = torch_npu_sim.npu_dtype_cast(on_npu(x), HIFLOAT8)
    table = table_of(HIFLOAT8)
    want = table[fusions.nearest_code(x.float(), table, ties_away=True)]
    assert (y.shape, y.dtype) == (x.shape, torch.uint8)
    assert torch.equal(table[y.cpu().long()].abs(), want.abs())
    assert torch.equal(table[y.cpu().long()], want)
    assert_meta_agrees(torch.ops.npu.npu_dtype_cast, x[:4], HIFLOAT8)


def test_cast_to_hifloat8_overflows_to_infinity() -> None:
    x = torch.tensor([32768.0, 40959.0, 40960.0, -65504.0, float("inf"), float("nan")])
    y = torch_npu_sim.npu_dtype_cast(on_npu(x), HIFLOAT8)
    assert y.cpu().tolist() == [0x6E, 0x6E, 0x6F, 0xEF, 0x6F, 0x80]


@pytest.mark.parametrize("code", [FP4, E1M2])
def test_cast_of_every_float16_to_fp4_is_the_nearest_of_its_table(code: int) -> None:
    x = every_half()
    x = x[x.isfinite()]
    y = torch_npu_sim.npu_dtype_cast(on_npu(x), code)
    assert (y.shape, y.dtype) == ((len(x) // 2,), torch.uint8)
    codes = torch.stack([y.cpu() & 15, y.cpu() >> 4], -1).flatten().long()
    table = table_of(code)[:8]
    want = table[fusions.nearest_code(x.float().abs(), table, ties_away=False)]
    assert torch.equal(table_of(code)[codes].abs(), want)
    nonzero = want > 0
    assert torch.equal(codes[nonzero] > 7, x[nonzero] < 0)
    assert_meta_agrees(torch.ops.npu.npu_dtype_cast, x[:4], code)


@pytest.mark.parametrize("code", [HIFLOAT8, FP4, E1M2])
@pytest.mark.parametrize("target", [torch.float32, torch.float16])
def test_every_code_comes_back_as_its_value_and_is_itself_again(
    target: torch.dtype, code: int
) -> None:
    packed = torch.arange(256).to(torch.uint8)
    wide = torch_npu_sim.npu_dtype_cast(on_npu(packed), target, code)
    if code == HIFLOAT8:
        want = table_of(code)
    else:
        want = table_of(code)[torch.stack([packed & 15, packed >> 4], -1).flatten().long()]
    torch.testing.assert_close(wide.cpu(), want.to(target), rtol=0, atol=0, equal_nan=True)
    back = torch_npu_sim.npu_dtype_cast(wide, code).cpu()
    if target == torch.float32:
        values = table_of(code)
        if code == HIFLOAT8:
            torch.testing.assert_close(values[back.long()], values, rtol=0, atol=0, equal_nan=True)
        else:
            assert torch.equal(back, packed)


def test_cast_to_int4_rounds_and_saturates_two_to_a_byte() -> None:
    x = torch.tensor([[0.5, 1.5, -2.5, 9.0, -9.0, 7.4]])
    y = torch_npu_sim.npu_dtype_cast(on_npu(x), INT4)
    assert (y.shape, y.dtype) == ((1, 3), torch.uint8)
    assert fusions.pairs_of_int4(y.cpu()).tolist() == [[0, 2, -2, 7, -8, 7]]


@pytest.mark.parametrize("target", [torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_gradient_comes_back_in_the_inputs_dtype(target: torch.dtype) -> None:
    for op in (torch_npu_sim.npu_dtype_cast, torch_npu_sim._npu_dtype_cast):
        x = torch.randn(4, device="npu", requires_grad=True)
        y = op(x, target)
        assert y.requires_grad
        y.backward(torch.full((4,), 2.0).to(target).npu())
        assert x.grad is not None
        assert (x.grad.dtype, x.grad.cpu().tolist()) == (torch.float32, [2.0] * 4)


def test_codes_of_torch_npus_own_formats_have_no_gradient() -> None:
    x = torch.randn(4, device="npu", requires_grad=True)
    assert not torch_npu_sim.npu_dtype_cast(x, HIFLOAT8).requires_grad


@pytest.mark.parametrize(
    ("x", "arguments", "error", "text"),
    [
        (torch.ones(3), (FP4,), ValueError, "divisible by 2"),
        (torch.ones(()), (FP4,), ValueError, "one axis or more"),
        (torch.ones(2), (12,), ValueError, "expected dtype"),
        (torch.ones(2), (293,), ValueError, "expected dtype"),
        (torch.ones(2), (6, HIFLOAT8), TypeError, "input of uint8"),
        (torch.ones(2).byte(), (6, INT4), ValueError, "input_dtype"),
        (torch.ones(2), (6, 15), TypeError, "input_dtype"),
        (torch.ones(2).cfloat(), (HIFLOAT8,), TypeError, "real input"),
    ],
)
def test_refusals_name_the_argument(
    x: torch.Tensor, arguments: tuple[int, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"npu_dtype_cast: .*{text}"):
        torch_npu_sim.npu_dtype_cast(on_npu(x), *arguments)


def test_cast_is_one_kernel_of_the_bytes_it_moves() -> None:
    x = torch.ones(64, 32, device="npu")
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_dtype_cast(x, FP4)
    (kernel,) = trace.kernels
    assert (kernel.bytes_read, kernel.bytes_written) == (64 * 32 * 4, 64 * 16)
