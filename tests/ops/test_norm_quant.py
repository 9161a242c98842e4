"""RMS norms that end with a quantisation by given scales or by a scale a row."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import quant_fusions as fusions

HALVES = [torch.float16, torch.bfloat16]
INT4, HIFLOAT8, E5M2, E4M3, FP4 = 16, 290, 291, 292, 296
SHAPES = [(4, 32), (2, 3, 64), (1, 8), (0, 16)]


def assert_steps(codes: torch.Tensor, want: torch.Tensor) -> None:
    """Integers next to `want`, which is not rounded yet, within what fp32 leaves open."""
    assert codes.shape == want.shape
    assert ((codes.double() - want.clamp(-128, 127)).abs() <= 0.51).all()


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("divides", [True, False])
def test_rms_norm_quant_v2_divides_or_multiplies_by_its_scale(
    divides: bool, each: bool, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    n = shape[-1]
    x, gamma, beta = (torch.randn(s).to(dtype) for s in (shape, (1, n), (1, n)))
    scale, offset = torch.rand(n if each else 1) + 0.1, torch.randn(n if each else 1)
    options = {"offset": offset, "beta": beta, "div_mode": divides}
    y, rstd = torch_npu_sim.npu_rms_norm_quant_v2(*on_npu((x, gamma, scale)), **on_npu(options))
    norm = fusions.rms_norm(x, gamma[0], beta[0], 1e-6)
    want = (norm / scale.double() if divides else norm * scale.double()) + offset.double()
    assert_steps(y.cpu(), want)
    assert rstd.shape == (0,)
    assert_meta_agrees(torch.ops.npu.npu_rms_norm_quant_v2, x, gamma, scale, **options)


def test_rms_norm_quant_v2_packs_eight_int4_codes_to_an_int32() -> None:
    x = torch.tensor([[1.0, -1.0] * 4]).half()
    y, _ = torch_npu_sim.npu_rms_norm_quant_v2(
        *on_npu((x, torch.ones(8).half(), torch.tensor([0.5]))), dst_dtype=torch.quint4x2
    )
    # 2 is 0010, -2 is 1110.
    assert (y.dtype, y.cpu().tolist()) == (torch.int32, [[-0x1D1D1D1E]])


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("both", [True, False])
def test_add_rms_norm_quant_quantises_the_norm_of_the_sum_twice(
    both: bool, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x1, x2 = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    gamma, beta = torch.randn(shape[-1:]).to(dtype), torch.randn(shape[-1:]).to(dtype)
    scales1, scales2 = torch.rand(shape[-1:]) + 0.1, torch.rand(shape[-1:]) + 0.1
    points = torch.randint(-5, 5, shape[-1:], dtype=torch.int32)
    options: dict[str, Any] = {"beta": beta, "scales2": scales2 if both else None}
    tensors = (x1, x2, gamma, scales1, points)
    y1, y2, x = torch_npu_sim.npu_add_rms_norm_quant(*on_npu(tensors), **on_npu(options))
    norm = fusions.rms_norm(x1.double() + x2.double(), gamma, beta, 1e-6)
    assert_steps(y1.cpu(), norm / scales1.double() + points)
    assert_steps(y2.cpu(), norm / scales2.double() if both else torch.zeros(shape).double())
    assert_equal(x, (x1.float() + x2.float()).to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_add_rms_norm_quant, *tensors, **options)


@pytest.mark.parametrize("code", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_add_rms_norm_quant_makes_fp8(code: torch.dtype) -> None:
    # Equal values, whose norm is 1, times a gamma of powers of two: nothing is left to round.
    x, gamma = torch.full((2, 8), 4.0).half(), torch.exp2(torch.arange(-4.0, 4.0)).half()
    y, _, _ = torch_npu_sim.npu_add_rms_norm_quant(
        *on_npu((x, x, gamma, torch.full((8,), 0.5))), None, epsilon=0.0, dst_type=code
    )
    assert y.dtype == code
    assert torch.equal(y.cpu().float(), (gamma.float() * 2).expand(2, 8))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(4, 32), (2, 3, 64), (1, 8)])
@pytest.mark.parametrize("mask", [None, [True, True], [False, True], [True, False]])
@pytest.mark.parametrize("smooths", [0, 1, 2])
def test_add_rms_norm_dynamic_quant_gives_a_row_one_scale(
    smooths: int, mask: list[bool] | None, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x1, x2 = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    gamma = torch.randn(shape[-1:]).to(dtype)
    smooth = [(torch.rand(shape[-1:]) + 0.5).to(dtype) for _ in range(2)]
    options: dict[str, Any] = {
        "smooth_scale1": smooth[0] if smooths > 0 else None,
        "smooth_scale2": smooth[1] if smooths > 1 else None,
        "output_mask": mask,
    }
    got = torch_npu_sim.npu_add_rms_norm_dynamic_quant(*on_npu((x1, x2, gamma)), **on_npu(options))
    norm = fusions.rms_norm(x1.double() + x2.double(), gamma, None, 1e-6)
    wanted = mask or [True, smooths == 2]
    for i in range(2):
        y, scale = got[i], got[3 + i]
        if not wanted[i]:
            assert (y.shape, scale.shape) == ((), ())
            continue
        rows = norm * (smooth[i].double() if smooths > i else 1)
        want_scale = rows.abs().amax(-1) / 127
        torch.testing.assert_close(scale.cpu().double(), want_scale, rtol=1e-5, atol=0)
        assert_steps(y.cpu(), rows / want_scale.unsqueeze(-1))
    assert_equal(got[2], (x1.float() + x2.float()).to(dtype))
    op = torch.ops.npu.npu_add_rms_norm_dynamic_quant
    assert_meta_agrees(op, x1, x2, gamma, **options)


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32])
@pytest.mark.parametrize("divides", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_rms_norm_backward_quant_quantises_the_gradient_of_x(
    kept: bool, divides: bool, dtype: torch.dtype
) -> None:
    dy, x, gamma = (torch.randn(s).to(dtype) for s in ((2, 4, 16), (2, 4, 16), (16,)))
    wide, weight = x.double().requires_grad_(), gamma.double().requires_grad_()
    fusions_norm = wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight
    fusions_norm.backward(dy.double())
    assert wide.grad is not None and weight.grad is not None
    rstd = 1 / (x.double().pow(2).mean(-1, keepdim=kept) + 1e-6).sqrt()
    scale, offset = torch.tensor([0.02 if divides else 50.0]), torch.tensor([3]).int()
    op = torch.ops.npu._npu_rms_norm_backward_quant
    tensors = (dy, x, rstd.float(), gamma, scale)
    options = {"offset_x": offset, "div_mode": divides}
    dx, dgamma = op(*on_npu(tensors), **on_npu(options))
    assert_steps(dx.cpu(), wide.grad / 0.02 + 3)
    torch.testing.assert_close(dgamma.cpu(), weight.grad.float(), rtol=1e-4, atol=1e-4)
    assert_meta_agrees(op, *tensors, **options)


@pytest.mark.parametrize(
    ("op", "changes", "error", "text"),
    [
        ("npu_rms_norm_quant_v2", {"scale": torch.ones(3)}, ValueError, "scale of"),
        ("npu_rms_norm_quant_v2", {"offset": torch.ones(3)}, ValueError, "offset of"),
        ("npu_rms_norm_quant_v2", {"dst_dtype": FP4}, ValueError, "dst_dtype"),
        ("npu_rms_norm_quant_v2", {"gamma": torch.ones(3).half()}, ValueError, "gamma of"),
        ("npu_add_rms_norm_quant", {"axis": 0}, ValueError, "axis -1"),
        ("npu_add_rms_norm_quant", {"dst_type": INT4}, ValueError, "dst_type of int8"),
        ("npu_add_rms_norm_quant", {"scales1": torch.ones(1)}, ValueError, "scales1 of"),
        ("npu_add_rms_norm_quant", {"x2": torch.ones(1, 8).half()}, ValueError, "x2 of"),
        (
            "npu_add_rms_norm_dynamic_quant",
            {"output_mask": [False, False]},
            ValueError,
            "output_mask",
        ),
        ("npu_add_rms_norm_dynamic_quant", {"x2": torch.ones(2, 8)}, TypeError, "x2 of"),
        (
            "npu_add_rms_norm_dynamic_quant",
            {"smooth_scale1": torch.ones(3).half()},
            ValueError,
            "smooth_scale1 of",
        ),
        ("_npu_rms_norm_backward_quant", {"quant_mode": "dynamic"}, ValueError, "quant_mode"),
        ("_npu_rms_norm_backward_quant", {"dst_type": E4M3}, ValueError, "dst_type"),
        ("_npu_rms_norm_backward_quant", {"rstd": torch.ones(3)}, ValueError, "rstd of"),
        ("_npu_rms_norm_backward_quant", {"scale_x": torch.ones(3)}, ValueError, "scale_x of"),
    ],
)
def test_refusals_name_operator_and_argument(
    op: str, changes: dict[str, Any], error: type[Exception], text: str
) -> None:
    x, gamma, scales = torch.ones(2, 8).half(), torch.ones(8).half(), torch.ones(8)
    fitting: dict[str, dict[str, Any]] = {
        "npu_rms_norm_quant_v2": {"x": x, "gamma": gamma, "scale": scales},
        "npu_add_rms_norm_quant": {
            "x1": x,
            "x2": x,
            "gamma": gamma,
            "scales1": scales,
            "zero_points1": None,
        },
        "npu_add_rms_norm_dynamic_quant": {"x1": x, "x2": x, "gamma": gamma},
        "_npu_rms_norm_backward_quant": {
            "dy": x,
            "x": x,
            "rstd": torch.ones(2, 1),
            "gamma": gamma,
            "scale_x": torch.ones(1),
        },
    }
    with pytest.raises(error, match=f"{op}: .*{text}"):
        getattr(torch.ops.npu, op)(**on_npu({**fitting[op], **changes}))


def test_add_rms_norm_dynamic_quant_moves_its_operands_once() -> None:
    x, gamma = on_npu((torch.ones(64, 256).half(), torch.ones(256).half()))
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_add_rms_norm_dynamic_quant(x, x.clone(), gamma)
    kernel = trace.kernels[-1]
    assert kernel.bytes_read == 2 * 64 * 256 * 2 + 256 * 2
    # Codes, the sum, the scales, and one number each in the place of the second results.
    assert kernel.bytes_written == 64 * 256 * 3 + 64 * 4 + 1 + 4
