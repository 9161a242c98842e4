"""torch.npu.amp."""

import pytest
import torch


def square(**tensor_options) -> torch.Tensor:
    """Returns a small matrix on npu."""
    return torch.ones(4, 4, device="npu", **tensor_options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_matmul_runs_in_the_low_type_inside(dtype):
    with torch.npu.amp.autocast(dtype=dtype):
        assert torch.mm(square(), square()).dtype == dtype
    assert torch.mm(square(), square()).dtype == torch.float32


def test_float16_is_the_default_of_torch_npu_s_autocast():
    with torch.npu.amp.autocast():
        assert torch.npu.get_autocast_dtype() == torch.float16


def test_softmax_runs_in_float32_inside():
    with torch.autocast("npu", dtype=torch.float16):
        assert torch.softmax(square(dtype=torch.float16), -1).dtype == torch.float32


def test_a_disabled_region_casts_nothing():
    with torch.npu.amp.autocast(), torch.npu.amp.autocast(enabled=False):
        assert torch.mm(square(), square()).dtype == torch.float32


def test_autocast_is_a_decorator():
    @torch.npu.amp.autocast(dtype=torch.bfloat16)
    def multiply() -> torch.Tensor:
        return torch.mm(square(), square())

    assert multiply().dtype == torch.bfloat16


def test_the_state_is_told():
    assert not torch.npu.is_autocast_enabled()
    with torch.autocast("npu"):
        assert torch.npu.is_autocast_enabled()


def test_supported_types_are_the_two_half_ones():
    assert set(torch.npu.get_amp_supported_dtype()) == {torch.float16, torch.bfloat16}


class Cube(torch.autograd.Function):
    """x ** 3 with casts of its own."""

    @staticmethod
    @torch.npu.amp.custom_fwd(cast_inputs=torch.float32)
    def forward(ctx, x):
        """Records the type it saw."""
        ctx.save_for_backward(x)
        ctx.autocast_inside = torch.is_autocast_enabled("npu")
        return x**3

    @staticmethod
    @torch.npu.amp.custom_bwd
    def backward(ctx, grad):
        """The derivative."""
        (x,) = ctx.saved_tensors
        assert not ctx.autocast_inside
        return grad * 3 * x**2


def test_custom_functions_cast_their_inputs_and_switch_autocast_off():
    x = square(dtype=torch.float16).requires_grad_()
    with torch.autocast("npu", dtype=torch.float16):
        y = Cube.apply(x)
    assert y.dtype == torch.float32
    y.sum().backward()
    assert torch.equal(x.grad.cpu(), torch.full((4, 4), 3.0, dtype=torch.float16))


def step(scaler: torch.amp.GradScaler, loss_factor: float) -> torch.Tensor:
    """Takes one SGD step of rate 1 from 1.0 down loss = loss_factor * w; returns w."""
    weight = torch.ones(1, device="npu", requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler.scale(weight * loss_factor).sum().backward()
    scaler.step(optimizer)
    scaler.update()
    return weight.detach().cpu()


def test_scaling_leaves_the_step_as_it_was():
    assert step(torch.npu.amp.GradScaler(init_scale=1024.0), 0.25).item() == 0.75


def test_a_step_with_inf_is_skipped_and_halves_the_scale():
    scaler = torch.npu.amp.GradScaler(init_scale=1024.0)
    assert step(scaler, float("inf")).item() == 1.0
    assert scaler.get_scale() == 512.0


def test_the_scale_grows_after_the_interval():
    scaler = torch.npu.amp.GradScaler(init_scale=2.0, growth_interval=2)
    step(scaler, 0.5)
    assert scaler.get_scale() == 2.0
    step(scaler, 0.5)
    assert scaler.get_scale() == 4.0


def test_a_static_scale_stays():
    scaler = torch.npu.amp.GradScaler(init_scale=8.0, dynamic=False)
    step(scaler, float("inf"))
    assert scaler.get_scale() == 8.0


def test_the_overflow_flag_of_older_cards_is_refused():
    with pytest.raises(RuntimeError, match="isfinite"):
        torch.npu.get_npu_overflow_flag()
