"""npu_group_norm_silu and npu_group_norm_swish against torch's group norm."""

import pytest
import torch

from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

OPS = torch.ops.npu
FLOATS = [torch.float32, torch.float16, torch.bfloat16]
SHAPES = [((3, 4), 2), ((2, 6, 5), 3), ((2, 4, 3, 2), 1), ((0, 4, 3), 2)]


def statistics(x: torch.Tensor, groups: int, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    if x.numel() == 0:
        return torch.empty(0, groups).double(), torch.empty(0, groups).double()
    rows = x.double().reshape(x.shape[0], groups, -1)
    return rows.mean(2), 1 / torch.sqrt(rows.var(2, unbiased=False) + eps)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "groups"), SHAPES)
def test_group_norm_silu_follows_its_formula(
    shape: tuple[int, ...], groups: int, dtype: torch.dtype
) -> None:
    x = torch.randn(shape, dtype=dtype)
    weight, bias = torch.randn(shape[1]), torch.randn(shape[1])
    y, mean, rstd = OPS.npu_group_norm_silu(*on_npu((x, weight, bias)), groups, 1e-4)
    norm = torch.nn.functional.group_norm(x.double(), groups, weight.double(), bias.double(), 1e-4)
    assert_equal(y, torch.nn.functional.silu(norm).to(dtype))
    want_mean, want_rstd = statistics(x, groups, 1e-4)
    assert_equal(mean, want_mean.float())
    assert_equal(rstd, want_rstd.float())
    assert_meta_agrees(OPS.npu_group_norm_silu, x, weight, bias, groups)


def test_group_norm_silu_goes_without_weight_and_bias() -> None:
    x = torch.randn(2, 4, 3).half()
    y, mean, _ = OPS.npu_group_norm_silu(x.npu(), None, None, 2)
    norm = torch.nn.functional.group_norm(x.double(), 2)
    assert_equal(y, torch.nn.functional.silu(norm).half())
    assert mean.dtype == torch.float16


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize(("shape", "groups"), SHAPES[:3])
def test_group_norm_swish_follows_its_formula(
    shape: tuple[int, ...], groups: int, scale: float
) -> None:
    x, weight, bias = torch.randn(shape), torch.randn(shape[1]), torch.randn(shape[1])
    y, _, _ = OPS.npu_group_norm_swish(x.npu(), groups, weight.npu(), bias.npu(), swish_scale=scale)
    norm = torch.nn.functional.group_norm(x.double(), groups, weight.double(), bias.double())
    assert_equal(y, (norm * torch.sigmoid(scale * norm)).float())
    assert_meta_agrees(OPS.npu_group_norm_swish, x, groups, weight, bias)


@pytest.mark.parametrize(("shape", "groups"), SHAPES[:3])
def test_the_gradient_of_group_norm_swish_passes_gradcheck(
    shape: tuple[int, ...], groups: int
) -> None:
    def leaf(*size: int) -> torch.Tensor:
        return torch.randn(size, dtype=torch.float64, device="npu", requires_grad=True)

    inputs = leaf(*shape), leaf(shape[1]), leaf(shape[1])

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return OPS.npu_group_norm_swish(x, groups, weight, bias, swish_scale=0.7)[0]

    assert torch.autograd.gradcheck(call, inputs)


def test_only_wanted_gradients_are_computed() -> None:
    x = torch.randn(2, 4, 3, device="npu", requires_grad=True)
    weight, bias = torch.ones(4, device="npu"), torch.zeros(4, device="npu")
    y, mean, rstd = OPS.npu_group_norm_swish(x, 2, weight, bias)
    y.sum().backward()
    assert x.grad is not None
    grads = OPS.npu_group_norm_swish_grad(
        torch.ones_like(y), x, 2, weight, bias, mean, rstd, [True, False, False]
    )
    assert grads[1] is None and grads[2] is None
    torch.testing.assert_close(grads[0], x.grad)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"group": 3}, ValueError, "divides C = 4"),
        ({"input": torch.ones(4)}, ValueError, "2 to 8 axes"),
        ({"input": torch.ones(2, 4).int()}, TypeError, "floating input"),
        ({"weight": torch.ones(5)}, ValueError, "expected weight"),
    ],
)
def test_group_norm_silu_names_what_is_wrong(
    change: dict[str, object], error: type[Exception], words: str
) -> None:
    arguments = {"input": torch.ones(2, 4), "weight": None, "bias": None, "group": 2, **change}
    with pytest.raises(error, match=f"npu_group_norm_silu: .*{words}"):
        OPS.npu_group_norm_silu(**on_npu(arguments))
