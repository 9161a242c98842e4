"""Quantisation with given scales, norms that end with one, and the work that is recorded."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import quant

INT4, HIFLOAT8, FP4 = 16, 290, 296


def rms(x: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """The norm over the last axis in fp32."""
    x = x.float()
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * gamma.float()


@pytest.mark.parametrize("dtype", [torch.qint8, torch.quint8, torch.qint32])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_quantize_divides_as_torchs_quantize_per_channel(axis: int, dtype: torch.dtype) -> None:
    x = torch.randn(3, 4, 5) * 100
    n = x.shape[axis]
    scales, zeros = torch.rand(n) + 0.5, torch.randint(0, 9, (n,), dtype=torch.int32)
    y = torch_npu_sim.npu_quantize(*on_npu((x, scales, zeros)), dtype, axis)
    want = torch.quantize_per_channel(x, scales, zeros, axis % 3, dtype).int_repr()
    # torch multiplies by the reciprocal: a value next to a tie may go the other way.
    assert (y.shape, y.dtype) == (want.shape, want.dtype)
    assert (y.cpu().int() - want.int()).abs().max() <= 1
    assert (y.cpu() != want).float().mean() < 0.05
    assert_meta_agrees(torch.ops.npu.npu_quantize, x, scales, zeros, dtype, axis)


def test_quantize_rounds_ties_to_even_and_saturates() -> None:
    x = torch.tensor([[0.5, 1.5, -2.5, 200.0, -200.0]])
    one = torch.ones(1)
    y = torch_npu_sim.npu_quantize(*on_npu((x, one)), None, torch.qint8, -1)
    assert y.cpu().tolist() == [[0, 2, -2, 127, -128]]


def test_quantize_of_a_scalar_is_a_scalar() -> None:
    y = torch_npu_sim.npu_quantize(*on_npu((torch.tensor(7.0), torch.ones(1))), None, 1, 0)
    assert (y.shape, y.item()) == ((), 7)


@pytest.mark.parametrize("code", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_quantize_multiplies_where_div_mode_is_off(code: torch.dtype) -> None:
    x, scales = torch.randn(4, 8).half(), (torch.rand(8) + 0.5).half()
    y = torch_npu_sim.npu_quantize(*on_npu((x, scales)), None, code, -1, False)
    want = (x.float() * scales.float()).to(code)
    assert y.dtype == code
    assert torch.equal(y.cpu().float(), want.float())


def test_quantize_packs_int4_where_div_mode_is_off() -> None:
    x = torch.arange(-4.0, 4.0).unsqueeze(0)
    y = torch_npu_sim.npu_quantize(*on_npu((x, torch.ones(1))), None, torch.quint4x2, -1, False)
    # -4 is 1100 in the lowest four bits, 3 is 0011 in the highest.
    assert y.cpu().tolist() == [[0x3210FEDC]]


def test_quantize_rounds_hifloat8_ties_away_from_zero() -> None:
    # Steps of 1/8 between 1 and 2: 1.0625 lies in the middle of the codes 0x08 and 0x09.
    x = torch.tensor([[1.0, 1.0625, 1.125]])
    y = torch_npu_sim.npu_quantize(*on_npu((x, torch.ones(1))), None, HIFLOAT8, -1)
    assert y.cpu().tolist() == [[0x08, 0x09, 0x09]]


@pytest.mark.parametrize(
    ("scales", "zeros", "dtype", "axis", "error", "text"),
    [
        (torch.ones(3), None, 1, 1, ValueError, "expected scales of"),
        (torch.ones(4), None, 1, 2, IndexError, "expected axis in"),
        (torch.ones(4), torch.zeros(2), 1, 1, ValueError, "expected zero_points of"),
        (torch.ones(1), None, 15, 1, ValueError, "expected dtype of"),
        (torch.ones(1), None, FP4, 1, ValueError, "expected dtype of"),
        (torch.ones(2, 2, 4), None, 1, 1, ValueError, "expected scales of one axis"),
    ],
)
def test_quantize_refuses_what_does_not_fit(
    scales: torch.Tensor,
    zeros: torch.Tensor | None,
    dtype: int,
    axis: int,
    error: type[Exception],
    text: str,
) -> None:
    x = torch.ones(2, 4)
    with pytest.raises(error, match="npu_quantize: .*" + text):
        torch_npu_sim.npu_quantize(*on_npu((x, scales, zeros)), dtype, axis)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 64), (2, 3, 100), (0, 32)])
@pytest.mark.parametrize("with_beta", [True, False])
def test_rms_norm_dynamic_mx_quant_quantises_the_norm_before_it_is_rounded(
    with_beta: bool, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, gamma, beta = (torch.randn(s).to(dtype) for s in (shape, shape[-1:], shape[-1:]))
    options = {"beta": beta if with_beta else None, "dst_type": torch.float8_e4m3fn}
    y, scale, rstd = torch_npu_sim.npu_rms_norm_dynamic_mx_quant(
        on_npu(x), on_npu(gamma), **on_npu(options)
    )
    norm = rms(x, gamma) + (beta.float() if with_beta else 0)
    back = quant.mx_dequantize(y.cpu(), scale.cpu(), -1)
    # Half a step of three mantissa bits; what scale_alg 0 cuts off at the top is below an eighth.
    block = torch.exp2(scale.cpu().float().flatten(-2) - 127).repeat_interleave(32, -1)
    within = torch.maximum(norm.abs() / 16 + 1e-4, block[..., : shape[-1]] * 2**-9)
    cut = norm.abs() > 448 * block[..., : shape[-1]]
    assert ((back - norm).abs() <= torch.where(cut, norm.abs() / 8, within)).all()
    assert (y.shape, rstd.shape, rstd.dtype) == (x.shape, (0,), torch.float32)
    assert_meta_agrees(torch.ops.npu.npu_rms_norm_dynamic_mx_quant, x, gamma, **options)


def test_add_rms_norm_dynamic_mx_quant_is_the_mx_norm_of_the_sum() -> None:
    x1 = torch.randint(-8, 8, (4, 64)).bfloat16()
    x2, gamma = torch.randint(-8, 8, (4, 64)).bfloat16(), torch.randn(64).bfloat16()
    y, x, scale, rstd = torch_npu_sim.npu_add_rms_norm_dynamic_mx_quant(*on_npu((x1, x2, gamma)))
    # Small integers add exactly, so that the norm of the rounded sum is the same.
    want = torch_npu_sim.npu_rms_norm_dynamic_mx_quant(*on_npu((x1 + x2, gamma)))
    assert_equal(x, x1 + x2)
    assert torch.equal(y.cpu(), want[0].cpu())
    assert torch.equal(scale.cpu(), want[1].cpu())
    assert_meta_agrees(torch.ops.npu.npu_add_rms_norm_dynamic_mx_quant, x1, x2, gamma)


@pytest.mark.parametrize("code", [torch.int8, torch.float8_e4m3fn, torch.float8_e5m2])
def test_rms_norm_quant_divides_by_scale_and_adds_offset(code: torch.dtype) -> None:
    x, gamma, beta = (torch.randn(s).half() for s in ((4, 32), (32,), (32,)))
    scale, offset = torch.tensor([0.25]).half(), torch.tensor([3], dtype=torch.int8)
    y = torch_npu_sim.npu_rms_norm_quant(*on_npu((x, gamma, beta, scale, offset)), dst_dtype=code)
    want = (rms(x, gamma) + beta.float()) / 0.25 + 3
    assert (y.shape, y.dtype) == (x.shape, code)
    # The integer or the fp8 number next to the formula's: half a step, of 1 or of 2 to 3 bits.
    step = {torch.int8: 1.0, torch.float8_e4m3fn: 2**-3, torch.float8_e5m2: 2**-2}[code]
    within = 0.5 * step * (1 if code == torch.int8 else want.abs()) + 1e-2
    assert ((y.cpu().float() - want).abs() <= within).all()
    assert_meta_agrees(
        torch.ops.npu.npu_rms_norm_quant, x, gamma, beta, scale, offset, dst_dtype=code
    )


def test_rms_norm_quant_refuses_a_scale_of_more_than_one_number() -> None:
    x, gamma = torch.ones(2, 8).half(), torch.ones(8).half()
    with pytest.raises(ValueError, match=r"npu_rms_norm_quant: expected scale and offset of \[1\]"):
        torch_npu_sim.npu_rms_norm_quant(*on_npu((x, gamma, gamma, gamma, gamma)))


def test_mx_norms_refuse_an_addend_of_another_shape() -> None:
    x1, x2 = torch.ones(2, 64).half(), torch.ones(1, 64).half()
    with pytest.raises(ValueError, match="mx_quant: expected x2 of"):
        torch_npu_sim.npu_add_rms_norm_dynamic_mx_quant(*on_npu((x1, x2, x1[0])))


@pytest.mark.parametrize(
    ("op", "options", "written"),
    [
        ("npu_dynamic_quant", {}, 64 * 256 + 64 * 4),
        ("npu_dynamic_mx_quant", {"dst_type": 24}, 64 * 256 + 64 * 8),
        ("npu_dynamic_mx_quant", {"dst_type": FP4}, 64 * 128 + 64 * 8),
        ("npu_dynamic_block_quant", {}, 64 * 256 + 64 * 2 * 4),
    ],
)
def test_a_call_is_one_kernel_of_the_bytes_it_moves(
    op: str, options: dict[str, int], written: int
) -> None:
    x = torch.randn(64, 256, device="npu").half()
    with torch_npu_sim.trace() as trace:
        getattr(torch_npu_sim, op)(x, **options)
    (kernel,) = trace.kernels
    assert (kernel.bytes_read, kernel.bytes_written) == (64 * 256 * 2, written)
