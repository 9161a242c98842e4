"""npu_rms_norm and its fused forms against their formulas, written apart from the kernels."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

FLOATS = [torch.float32, torch.float16, torch.bfloat16]
SHAPES = [((4, 16), (16,)), ((2, 3, 5, 7), (7,)), ((2, 4, 6), (4, 6)), ((1,), (1,)), ((0, 8), (8,))]


def rms(x: torch.Tensor, gamma: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The norm in float64, its y not rounded yet."""
    x, gamma = x.double(), gamma.double()
    axes = tuple(range(x.dim() - gamma.dim(), x.dim()))
    rstd = 1 / torch.sqrt(x.pow(2).mean(axes, keepdim=True) + epsilon)
    return x * rstd * gamma, rstd


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "columns"), SHAPES)
def test_rms_norm_follows_its_formula(
    shape: tuple[int, ...], columns: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, gamma = torch.randn(shape, dtype=dtype), torch.randn(columns, dtype=dtype)
    y, rstd = torch_npu_sim.npu_rms_norm(*on_npu((x, gamma)), epsilon=1e-5)
    want, want_rstd = rms(x, gamma, 1e-5)
    assert_equal(y, want.to(dtype))
    assert_equal(rstd, want_rstd.float())
    assert_meta_agrees(torch.ops.npu.npu_rms_norm, x, gamma)


def test_rms_norm_takes_gamma_of_another_dtype() -> None:
    x, gamma = torch.randn(4, 8, dtype=torch.float16), torch.randn(8)
    y, _ = torch_npu_sim.npu_rms_norm(*on_npu((x, gamma)))
    assert_equal(y, rms(x, gamma, 1e-6)[0].half())


def test_rms_norm_takes_input_that_is_not_contiguous() -> None:
    x, gamma = torch.randn(8, 4).t(), torch.randn(8)
    y, _ = torch_npu_sim.npu_rms_norm(*on_npu((x, gamma)))
    assert_equal(y, rms(x, gamma, 1e-6)[0].float())


def test_the_gradient_of_rms_norm_passes_gradcheck() -> None:
    x = torch.randn(3, 5, dtype=torch.float64, device="npu", requires_grad=True)
    gamma = torch.randn(5, dtype=torch.float64, device="npu", requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, g: torch.ops.npu.npu_rms_norm(x, g)[0], (x, gamma))


def test_gemma_rms_norm_adds_one_to_gamma() -> None:
    x, gamma = torch.randn(4, 8), torch.randn(8)
    y, rstd = torch_npu_sim.npu_gemma_rms_norm(*on_npu((x, gamma)))
    want, want_rstd = rms(x, gamma + 1, 1e-6)
    assert_equal(y, want.float())
    assert_equal(rstd, want_rstd.float())


@pytest.mark.parametrize("dtype", FLOATS)
def test_add_rms_norm_normalises_the_sum_before_it_is_rounded(dtype: torch.dtype) -> None:
    x1, x2, gamma = (torch.randn(s, dtype=dtype) for s in ((4, 16), (4, 16), (16,)))
    y, rstd, x = torch_npu_sim.npu_add_rms_norm(*on_npu((x1, x2, gamma)))
    want, want_rstd = rms(x1.double() + x2.double(), gamma, 1e-6)
    assert_equal(y, want.to(dtype))
    assert_equal(rstd, want_rstd.float())
    assert_equal(x, x1 + x2)
    assert_meta_agrees(torch.ops.npu.npu_add_rms_norm, x1, x2, gamma)


def test_add_rms_norm_cast_also_gives_the_norm_in_float32() -> None:
    x1, x2, gamma = (torch.randn(s, dtype=torch.float16) for s in ((4, 16), (4, 16), (16,)))
    wide, narrow, _, _ = torch_npu_sim.npu_add_rms_norm_cast(*on_npu((x1, x2, gamma)))
    want, _ = rms(x1.double() + x2.double(), gamma, 1e-6)
    assert_equal(wide, want.float())
    assert_equal(narrow, want.half())


def test_add_rms_norm_v2_writes_the_norm_and_the_sum_into_its_inputs() -> None:
    x1, x2, gamma = (torch.randn(s) for s in ((4, 16), (4, 16), (16,)))
    y, x, npu_gamma = on_npu((x1, x2, gamma))
    before = y._version, x._version
    rstd = torch_npu_sim.npu_add_rms_norm_v2(y, x, npu_gamma)
    want, want_rstd = rms(x1 + x2, gamma, 1e-6)
    assert_equal(y, want.float())
    assert_equal(x, x1 + x2)
    assert_equal(rstd, want_rstd.float())
    assert (y._version, x._version) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize(
    ("gamma", "error", "text"),
    [
        (
            torch.ones(3),
            ValueError,
            r"expected gamma of the last axes of input \[4, 8\], got \[3\]",
        ),
        (torch.ones(4), ValueError, "expected gamma of the last axes"),
        (torch.ones(2, 4, 8), ValueError, "expected gamma of the last axes"),
        (torch.ones(8, dtype=torch.int32), TypeError, "expected floating input and gamma"),
    ],
)
def test_rms_norm_refuses_a_gamma_that_does_not_fit(
    gamma: torch.Tensor, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match="npu_rms_norm: " + text):
        torch_npu_sim.npu_rms_norm(torch.ones(4, 8, device="npu"), gamma.npu())


def test_rms_norm_is_one_kernel_of_rows() -> None:
    x, gamma = torch.randn(64, 512, device="npu"), torch.randn(512, device="npu")
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_rms_norm(x, gamma)
    (kernel,) = trace.kernels
    assert kernel.op == "npu::npu_rms_norm"
    assert kernel.bytes_read == 4 * (64 * 512 + 512)
    assert kernel.bytes_written == 4 * (64 * 512 + 64)


@pytest.mark.parametrize("columns", [(16,), (4, 16)])
def test_add_layer_norm_normalises_the_sum(columns: tuple[int, ...]) -> None:
    x1, x2 = torch.randn(2, 4, 16), torch.randn(2, 4, 16)
    gamma, beta = torch.randn(columns), torch.randn(columns)
    y, mean, rstd, x = torch_npu_sim.npu_add_layer_norm(*on_npu((x1, x2, gamma, beta)), 1e-5, True)
    axes = tuple(range(3 - len(columns), 3))
    assert_equal(x, x1 + x2)
    assert_equal(y, torch.nn.functional.layer_norm(x1 + x2, columns, gamma, beta))
    assert_equal(mean, (x1 + x2).mean(axes, keepdim=True))
    variance = (x1 + x2).var(axes, keepdim=True, correction=0)
    assert_equal(rstd, torch.rsqrt(variance + 1e-5))


def test_add_layer_norm_answers_the_wider_dtype() -> None:
    x1, x2, ones = torch.randn(4, 8).half(), torch.randn(4, 8), torch.ones(8)
    y, _, _, x = torch_npu_sim.npu_add_layer_norm(*on_npu((x1, x2, ones, ones)))
    assert (y.dtype, x.dtype) == (torch.float32, torch.float32)


def test_deep_norm_scales_its_first_input() -> None:
    x, gx, beta, gamma = (torch.randn(s) for s in ((4, 8), (4, 8), (8,), (8,)))
    _, _, y = torch_npu_sim.npu_deep_norm(*on_npu((x, gx, beta, gamma)), alpha=0.4)
    want = torch.nn.functional.layer_norm(0.4 * x + gx, (8,), gamma, beta, 1e-6)
    assert_equal(y, want)


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b, g, c: torch.ops.npu.npu_add_layer_norm(a, b, g, c)[0],
        lambda a, b, g, c: sum(torch.ops.npu.npu_add_layer_norm(a, b, g, c)[i] for i in (0, 3)),
        lambda a, b, g, c: torch.ops.npu.npu_deep_norm(a, b, c, g)[2],
    ],
)
def test_gradients_of_layer_norms_pass_gradcheck(call) -> None:  # type: ignore[no-untyped-def]
    shapes = (3, 5), (3, 5), (5,), (5,)
    inputs = [torch.randn(s, dtype=torch.float64, device="npu", requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(call, inputs)
