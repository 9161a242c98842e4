"""Gated activations against their formulas."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

FLOATS = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "dim"), [((4, 6), -1), ((2, 4, 3), 1), ((0, 4), -1), ((2,), 0)])
def test_swiglu_multiplies_the_gated_half(
    shape: tuple[int, ...], dim: int, dtype: torch.dtype
) -> None:
    x = torch.randn(shape, dtype=dtype)
    a, b = x.double().chunk(2, dim)
    y = torch_npu_sim.npu_swiglu(on_npu(x), dim=dim)
    assert_equal(y, (a / (1 + torch.exp(-a)) * b).to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_swiglu, x, dim)


def test_the_gradient_of_swiglu_passes_gradcheck() -> None:
    x = torch.randn(3, 6, dtype=torch.float64, device="npu", requires_grad=True)
    assert torch.autograd.gradcheck(torch.ops.npu.npu_swiglu, (x,))


def test_swiglu_trains_under_torch_compile() -> None:
    x = torch.randn(4, 8, device="npu", requires_grad=True)
    step = torch.compile(lambda x: torch.ops.npu.npu_swiglu(x).sum(), backend="aot_eager")
    step(x).backward()
    compiled, x.grad = x.grad, None
    torch.ops.npu.npu_swiglu(x).sum().backward()
    assert torch.equal(compiled, x.grad)


def test_swiglu_keeps_no_graph_without_gradients() -> None:
    assert torch_npu_sim.npu_swiglu(torch.randn(4, 8, device="npu")).grad_fn is None
    x = torch.randn(4, 8, device="npu", requires_grad=True)
    with torch.no_grad():
        assert torch_npu_sim.npu_swiglu(x).grad_fn is None


@pytest.mark.parametrize(
    ("shape", "dim", "error", "text"),
    [
        ((4, 3), -1, ValueError, r"expected an even size along dim -1, got input of \[4, 3\]"),
        ((4, 4), 2, IndexError, r"expected dim in \[-2, 1\], got 2"),
    ],
)
def test_swiglu_refuses_what_has_no_halves(
    shape: tuple[int, ...], dim: int, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match="npu_swiglu: " + text):
        torch_npu_sim.npu_swiglu(torch.ones(shape, device="npu"), dim)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_follows_torchs_formula(approximate: str, dtype: torch.dtype) -> None:
    x = torch.randn(3, 8, dtype=dtype)
    want = torch.nn.functional.gelu(x.double(), approximate=approximate)
    assert_equal(torch_npu_sim.npu_gelu(on_npu(x), approximate=approximate), want.to(dtype))


@pytest.mark.parametrize("name", ["npu_fast_gelu", "fast_gelu"])
def test_fast_gelu_gates_by_a_sigmoid(name: str) -> None:
    x = torch.randn(3, 8)
    want = x.double() / (1 + torch.exp(-1.702 * x.double()))
    assert_equal(getattr(torch_npu_sim, name)(on_npu(x)), want.float())


def test_gelu_mul_gates_the_first_half() -> None:
    x = torch.randn(3, 8)
    a, b = x.chunk(2, -1)
    want = torch.nn.functional.gelu(a) * b
    assert_equal(torch_npu_sim.npu_gelu_mul(on_npu(x)), want)


@pytest.mark.parametrize("activate_left", [False, True])
@pytest.mark.parametrize(("dim", "shape"), [(-1, (3, 8)), (0, (4, 3))])
def test_geglu_gates_the_side_it_is_told(
    dim: int, shape: tuple[int, ...], activate_left: bool
) -> None:
    x = torch.randn(shape)
    left, right = x.chunk(2, dim)
    gate, value = (left, right) if activate_left else (right, left)
    y, gelu = torch_npu_sim.npu_geglu(on_npu(x), dim, 1, activate_left)
    want = torch.nn.functional.gelu(gate, approximate="tanh")
    assert_equal(gelu, want)
    assert_equal(y, want * value)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.ops.npu.npu_gelu(x, approximate="tanh"),
        torch.ops.npu.npu_gelu,
        torch.ops.npu.npu_fast_gelu,
        lambda x: torch.ops.npu.npu_geglu(x)[0],
        lambda x: torch.ops.npu.npu_geglu(x, -1, 0, True)[0],
    ],
)
def test_gradients_of_gelu_pass_gradcheck(call) -> None:  # type: ignore[no-untyped-def]
    x = torch.randn(3, 6, dtype=torch.float64, device="npu", requires_grad=True)
    assert torch.autograd.gradcheck(call, (x,))


@pytest.mark.parametrize("interleaved", [True, False])
def test_clipped_swiglu_clamps_gate_and_value(interleaved: bool) -> None:
    x = 4 * torch.randn(5, 8)
    gate, value = (x[:, ::2], x[:, 1::2]) if interleaved else x.chunk(2, -1)
    gate, value = gate.clamp(max=3.0), value.clamp(-3.0, 3.0)
    want = gate * torch.sigmoid(0.7 * gate) * (value + 1.2)
    y = torch_npu_sim.npu_clipped_swiglu(
        on_npu(x), alpha=0.7, limit=3.0, bias=1.2, interleaved=interleaved
    )
    assert_equal(y, want)


def test_clipped_swiglu_leaves_rows_of_no_expert_at_zero() -> None:
    x = torch.randn(5, 8)
    y = torch_npu_sim.npu_clipped_swiglu(on_npu(x), group_index=torch.tensor([2, 1]).npu())
    full = torch_npu_sim.npu_clipped_swiglu(on_npu(x))
    assert torch.equal(y[:3], full[:3])
    assert not y[3:].any()
