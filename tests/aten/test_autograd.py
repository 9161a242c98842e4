"""Autograd on npu tensors: gradients, hooks, graphs, modes, saved tensors, checkpoints."""

import warnings

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


def _loss(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return (
        F.softmax(F.gelu(x @ w), -1).square().sum() + F.layer_norm(x, (x.shape[-1],)).exp().mean()
    )


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(7, 5).requires_grad_(), torch.randn(5, 3).requires_grad_()


def test_backward_fills_the_gradients_of_the_cpu(same) -> None:
    def run(x, w):
        _loss(x, w).backward()
        return x.grad, w.grad

    same(run, *_inputs())


def test_gradients_accumulate_in_place(same) -> None:
    def run(x, w):
        _loss(x, w).backward()
        first = x.grad
        _loss(x, w).backward()
        assert x.grad is first
        return x.grad

    same(run, *_inputs())


def test_grad_of_grad_equals_the_cpu(same) -> None:
    def run(x, w):
        grads = torch.autograd.grad(_loss(x, w), (x, w), create_graph=True)
        sum(g.square().sum() for g in grads).backward()
        return x.grad, w.grad

    same(run, *_inputs())


def test_gradcheck_accepts_npu_functions(npu) -> None:
    x = torch.randn(3, 4, dtype=torch.float64, device=npu, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda t: torch.tanh(t).cumsum(0) @ t.t(), (x,), check_forward_ad=True
    )
    assert torch.autograd.gradgradcheck(lambda t: torch.tanh(t) * t, (x,))


def test_a_freed_graph_cannot_be_walked_again(npu) -> None:
    x = torch.ones(3, device=npu, requires_grad=True)
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_a_saved_tensor_that_was_written_is_detected(npu) -> None:
    x = torch.ones(3, device=npu, requires_grad=True)
    y = x * 1
    z = y.exp()
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
    with pytest.raises(
        RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"
    ):
        x.add_(1)


def test_anomaly_mode_names_the_forward_call(npu) -> None:
    x = torch.zeros(3, device=npu, requires_grad=True)
    with warnings.catch_warnings(record=True), torch.autograd.detect_anomaly():
        warnings.simplefilter("always")
        with pytest.raises(RuntimeError, match="returned nan values in its 0th output"):
            (torch.sqrt(x) * 0).sum().backward()


def test_hooks_run_on_npu_gradients(npu) -> None:
    seen = []
    x = torch.ones(3, device=npu, requires_grad=True)
    x.register_hook(lambda g: g * 2)
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.device))
    y = x * 3
    y.retain_grad()
    y.grad_fn.register_hook(lambda gi, go: seen.append(len(gi)))
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 6.0, 6.0]
    assert y.grad.tolist() == [1.0, 1.0, 1.0]
    assert seen == [2, npu]


def test_module_hooks_see_npu_tensors(npu) -> None:
    module, seen = torch.nn.Linear(3, 2).to(npu), []
    module.register_forward_pre_hook(lambda m, a: seen.append(a[0].device))
    module.register_forward_hook(lambda m, a, out: out * 2)
    module.register_full_backward_hook(lambda m, gi, go: seen.append(go[0].device))
    out = module(torch.ones(1, 3, device=npu, requires_grad=True))
    out.sum().backward()
    assert seen == [npu, npu]


def test_custom_function_saves_and_returns_npu_tensors(same) -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.mark_non_differentiable(flag := x > 0)
            return x**3, flag

        @staticmethod
        def backward(ctx, grad, _):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * grad

    def run(x):
        y, flag = Cube.apply(x)
        y.sum().backward()
        return x.grad, flag

    same(run, torch.randn(5).requires_grad_())


def test_no_grad_enable_grad_and_inference_mode(npu) -> None:
    x = torch.ones(3, device=npu, requires_grad=True)
    with torch.no_grad():
        assert not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad
    with torch.inference_mode():
        y = x * 2
        z = torch.ones(3, device=npu)
        z.add_(y)
        view = x.select(0, 0)
    assert y.is_inference() and z.is_inference()
    assert not view.is_inference()
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        (x * y).sum()
    with pytest.raises(
        RuntimeError, match="Inplace update to inference tensor outside InferenceMode"
    ):
        y.add_(1)


@pytest.mark.parametrize("pin", [False, True])
def test_saved_tensors_go_to_the_host_and_come_back(same, pin) -> None:
    def run(x, w):
        with torch.autograd.graph.save_on_cpu(pin_memory=pin and x.device.type == "npu"):
            loss = _loss(x, w)
        loss.backward()
        return x.grad, w.grad

    same(run, *_inputs())


def test_saved_tensor_hooks_see_npu_tensors(npu) -> None:
    seen = []

    def pack(t):
        seen.append(t.device)
        return t.cpu()

    x = torch.ones(3, device=npu, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t.to(npu)):
        y = x.exp() * x
    y.sum().backward()
    assert set(seen) == {npu}
    assert torch.allclose(x.grad.cpu(), torch.full((3,), 2 * torch.e))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint_repeats_the_dropout_of_the_forward(npu, reentrant) -> None:
    x = torch.ones(33, device=npu, requires_grad=True)

    def run(t):
        return F.dropout(t, 0.5) * t

    y = checkpoint(run, x, use_reentrant=reentrant)
    torch.rand(5, device=npu)
    y.sum().backward()
    assert torch.equal(x.grad, 2 * y.detach())


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_model_has_the_gradients_of_the_cpu(same, reentrant) -> None:
    def run(x, w):
        checkpoint(_loss, x, w, use_reentrant=reentrant).backward()
        layers = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh())
        y = checkpoint_sequential(layers, 2, x, use_reentrant=reentrant)
        y.sum().backward()
        return x.grad, w.grad

    same(run, *_inputs())


def test_gradient_crosses_devices_through_copies(npu) -> None:
    x = torch.ones(3, requires_grad=True)
    y = (x * 2).to(npu)
    z = (y * 3).to("npu:1") * 2
    z.cpu().sum().backward()
    assert x.grad.tolist() == [12.0, 12.0, 12.0]
    assert x.grad.device.type == "cpu"


def test_a_gradient_on_another_device_is_refused(npu) -> None:
    x = torch.ones(3, device=npu, requires_grad=True)
    with pytest.raises(RuntimeError, match="device"):
        (x * 2).backward(torch.ones(3))
    with pytest.raises(RuntimeError, match="device"):
        x.grad = torch.ones(3)


def test_forward_mode_derivatives_equal_the_cpu(same) -> None:
    def run(x, w):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x.detach(), torch.ones_like(x))
            out = _loss(dual, w.detach())
            tangent = torch.autograd.forward_ad.unpack_dual(out).tangent
        return tangent

    same(run, *_inputs())


def test_undefined_forward_tangents_are_zero_tensors(same) -> None:
    def run(x):
        zero = torch._efficientzerotensor(x.shape, device=x.device)
        assert zero._is_zerotensor()
        return [(zero + x), zero.clone(), zero * x + 1, torch.cat([zero, x]), zero.sum() + 0]

    same(run, torch.randn(3, 5))


def test_jacobians_of_autograd_functional_equal_the_cpu(same) -> None:
    same(lambda x: torch.autograd.functional.jacobian(torch.sin, x), torch.randn(4))
    same(lambda x: torch.autograd.functional.hessian(lambda t: t.pow(3).sum(), x), torch.randn(4))
    same(lambda x: torch.autograd.functional.jvp(torch.sin, x, x), torch.randn(4))
